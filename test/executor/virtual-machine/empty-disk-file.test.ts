import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VirtualMachine, Volume } from '../../../src/api/virtual-machine.ts';
import type { DomainView } from '../../../src/executor/virtual-machine/domain-view.ts';
import { emptyDiskFile } from '../../../src/executor/virtual-machine/empty-disk-file.ts';
import { growVolumes } from '../../../src/executor/virtual-machine/grow-volumes.ts';
import { Media } from '../../../src/executor/virtual-machine/media.ts';
import { pruneMedia } from '../../../src/executor/virtual-machine/prune-media.ts';
import type { Round } from '../../../src/executor/virtual-machine/round.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';

/** What libvirt says beside the message. */
const silent = { str1: '', str2: '', str3: '', int1: 0, int2: 0 };
const MiB = 1024 * 1024;
const uid = '2a0d8c1e-93b4-4e06-8f5f-8b3c65b1a901';
const { signal } = new AbortController();
let root: string;
let folder: string;
let media: Media;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'virtctl-empty-disk-'));
  media = new Media(root);
  folder = media.folderOf(uid);
  await mkdir(folder);
});
afterEach(() => rm(root, { recursive: true }));

/** The head of a qcow2 file that says how large the disk is. */
async function writeQcow2(path: string, bytes: number): Promise<void> {
  const head = Buffer.alloc(104);
  head.write('QFI\xfb', 'latin1');
  head.writeUInt32BE(3, 4);
  head.writeBigUInt64BE(BigInt(bytes), 24);
  await writeFile(path, head);
}

async function writeRaw(path: string, bytes: number): Promise<void> {
  await writeFile(path, 'kept');
  await truncate(path, bytes);
}

function machineWith(source?: string): VirtualMachine {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'shop', uid },
    spec: {},
    ...(source === undefined ? {} : { status: { volumes: [{ name: 'scratch', source }] } }),
  };
}

const resolve = (volume: Volume['emptyDisk'], source?: string) =>
  emptyDiskFile(machineWith(source), { name: 'scratch', emptyDisk: volume }, media, signal);

describe('an empty disk without a pool', () => {
  it('that is to be larger than its file says so, in either format', async () => {
    const [qcow2, raw] = [join(folder, 'scratch.qcow2'), join(folder, 'scratch.raw')];
    await writeQcow2(qcow2, 8 * MiB);
    expect(await resolve({ capacity: '8Mi' })).toEqual({ path: qcow2, format: 'qcow2' });
    expect(await resolve({ capacity: '16Mi' })).toEqual({
      path: qcow2,
      format: 'qcow2',
      grow: { format: 'qcow2', is: 8 * MiB, wanted: 16 * MiB },
    });
    await rm(qcow2);
    await writeRaw(raw, 8 * MiB);
    // qemu-img makes no half sectors.
    expect(await resolve({ capacity: 8 * MiB - 100, format: 'raw' })).toEqual({ path: raw, format: 'raw' });
    expect((await resolve({ capacity: 8 * MiB + 1, format: 'raw' })).grow?.wanted).toBe(8 * MiB + 512);
  });

  it('is neither cut off nor replaced by one of another format while the machine has it', async () => {
    const path = join(folder, 'scratch.qcow2');
    await writeQcow2(path, 8 * MiB);
    await expect(resolve({ capacity: '4Mi' }, path)).rejects.toThrow(
      /volume scratch: its empty disk has 8Mi, and is not made smaller: that would destroy/,
    );
    await expect(resolve({ capacity: '8Mi', format: 'raw' }, path)).rejects.toThrow(
      /was made qcow2, not raw, which cannot be changed; take the entry out/,
    );
    expect(await readdir(folder)).toEqual(['scratch.qcow2']);
  });

  it('goes when neither the list nor the domain has it any more', async () => {
    for (const name of ['a.raw', 'b.qcow2', 'c.overlay.qcow2', 'd.raw', 'e.iso'])
      await writeFile(join(folder, name), '');
    const live = { devices: { disk: [{ source: { file: join(folder, 'd.raw') } }] } };
    const round = {
      key: 'shop/web',
      parts: { media, snapshots: { context: { namesOf: () => [] } } },
      status: { machine: machineWith() },
      view: { live, inactive: {}, hasManagedSave: false },
      volumes: [{ path: join(folder, 'a.raw') }],
    };
    // Nothing is known of its volumes while one of them is not there.
    await pruneMedia({ ...round, wanted: undefined } as unknown as Round);
    expect(await readdir(folder)).toHaveLength(5);
    await pruneMedia({ ...round, wanted: {} } as unknown as Round);
    expect((await readdir(folder)).sort()).toEqual(['a.raw', 'd.raw']);
  });
});

describe('what somebody else has in the folder of a machine', () => {
  it('stays: what a running disk lies over, what it is copied to, and snapshots that virsh took', async () => {
    const files = ['a.qcow2', 'a.1.qcow2', 'base.qcow2', 'copy.raw'];
    for (const name of files) await writeFile(join(folder, name), '');
    const at = (name: string): object => ({ source: { file: join(folder, name) } });
    const disk = {
      ...{ target: { dev: 'vda' }, ...at('a.2.qcow2') },
      backingStore: { ...at('base.qcow2'), backingStore: at('a.qcow2') },
      mirror: at('copy.raw'),
    };
    const round = {
      key: 'shop/web',
      parts: { media, snapshots: { context: { namesOf: () => [] } } },
      status: { machine: machineWith() },
      view: { live: { devices: { disk: [disk] } }, inactive: {}, hasManagedSave: false },
      ...{ volumes: [], wanted: {} },
    };
    await pruneMedia(round as unknown as Round);
    expect((await readdir(folder)).sort()).toEqual([...files].sort());
  });
});

describe('a volume that is to grow', () => {
  const calls: unknown[][] = [];
  const events: unknown[] = [];
  const round = (
    view: Partial<DomainView> | undefined,
    failure?: Error,
    grown: (path: string) => void = () => undefined,
  ): Round => {
    calls.length = 0;
    events.length = 0;
    const resize = (...args: unknown[]): Promise<void> => {
      calls.push(args.slice(0, 2));
      return failure === undefined ? Promise.resolve() : Promise.reject(failure);
    };
    return {
      view: view === undefined ? undefined : { ...view, domain: { blocks: { resize } } },
      volumes: [{ name: 'scratch', path: '/f', grow: { format: 'raw', is: 8 * MiB, wanted: 16 * MiB } }],
      status: { machine: machineWith(), power: {} },
      parts: {
        record: (event: unknown) => events.push(event),
        fileHolds: { take: () => ({ release: () => undefined }) },
        media: {
          growEmptyDisk: (path: string): Promise<void> => {
            grown(path);
            return Promise.resolve();
          },
        },
      },
      plugged: { refused: [], cutOff: [] },
      signal,
      options: {},
    } as unknown as Round;
  };
  const live = { devices: { disk: [{ source: { file: '/f' }, target: { dev: 'vdb' } }] } };

  it('grows in the running guest, by the device that has its file', async () => {
    await growVolumes(round({ live, hasManagedSave: false }));
    expect(calls).toEqual([['vdb', 16 * MiB]]);
    expect(events).toMatchObject([{ reason: 'Resized', note: 'volume scratch was grown from 8Mi to 16Mi' }]);
  });

  it('waits for a restart, and says why, when libvirt refuses', async () => {
    const refused = round(
      { live, hasManagedSave: false },
      new LibvirtError('domainBlockResize', { ...silent, code: 1, domain: 10, level: 2, message: 'no' }),
    );
    await growVolumes(refused);
    expect(refused.plugged.refused).toMatchObject([
      { path: 'spec.volumes[scratch].emptyDisk.capacity', from: '8Mi', to: '16Mi' },
    ]);
    expect(refused.plugged.refused[0]?.message).toContain('no');
    expect(refused.requeueAfterMs).toBeGreaterThan(0);
    expect(events).toMatchObject([{ reason: 'ResizeFailed' }]);
  });

  it('grows by itself when no guest has it, and not under a saved one', async () => {
    const grown: string[] = [];
    await growVolumes(round(undefined, undefined, (path) => grown.push(path)));
    expect(grown).toEqual(['/f']);
    await growVolumes(round({ hasManagedSave: true }, undefined, (path) => grown.push(path)));
    expect([grown, calls]).toEqual([['/f'], []]);
  });
});
