import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DiskMove, VirtualDisk } from '../../../src/api/virtual-disk.ts';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';
import { ConflictError } from '../../../src/base/errors.ts';
import { makeDiskVolumes, type DiskReceiver } from '../../../src/executor/migration/receive-disks.ts';
import { FileHolds } from '../../../src/executor/virtual-disk/file-holds.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import { makeTestFolder } from '../../support/test-folder.ts';

interface Scene {
  /** Whether a file of the volume's name stands there. */
  readonly stands?: boolean;
  readonly move?: Partial<DiskMove>;
  /** Where the pool is on this node, if not where it is on the other. */
  readonly elsewhere?: boolean;
  readonly type?: string;
  readonly isActive?: boolean;
  /** Whether the API server does not know status.move. */
  readonly drops?: boolean;
  readonly isHeld?: boolean;
  /** Whether another migration notes a volume of its own while this one looks. */
  readonly isOvertaken?: boolean;
  /** What libvirt says to making it. */
  readonly complaint?: string;
  /** What the volume has in the end, in bytes. */
  readonly bytes?: number;
}

interface DiskPatch {
  readonly metadata: VirtualDisk['metadata'];
  readonly status: { readonly move: DiskMove | null };
}

function complaintOf(message: string, code: number): LibvirtError {
  const none = { domain: 0, level: 2, str1: null, str2: null, str3: null, int1: 0, int2: 0 };
  return new LibvirtError('storageVolCreateXml', { ...none, code, message });
}

/** What node-2 does to make the volume of a disk of node-1, in order; the last is why it does not, if it does not. */
async function receive(scene: Scene): Promise<readonly string[]> {
  const acts: string[] = [];
  const folder = makeTestFolder('receive');
  const path = join(folder, 'v');
  if (scene.stands === true) await writeFile(path, '');
  const said = (name: string) => (): Promise<void> => {
    acts.push(name);
    return Promise.resolve();
  };
  const ours = {
    nodeName: 'node-2',
    state: 'Copying',
    operation: 'op',
    operationUid: 'o',
    pool: 'p',
    volume: 'v',
    path,
  };
  const move = scene.move === undefined ? undefined : ({ ...ours, ...scene.move } as DiskMove);
  let disk: VirtualDisk = {
    ...{
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: { name: 'root', namespace: 'shop', resourceVersion: '1' },
    },
    spec: { capacity: '1Mi', volume: { capacity: { unit: 'bytes', value: 1 } } },
    status: { phase: 'Ready', nodeName: 'node-1', pool: 'p', volume: 'v', path, ...(move && { move }) },
  };
  const target = scene.elsewhere === true ? '/other' : folder;
  const pool = {
    isActive: () => {
      if (scene.isOvertaken === true) disk = { ...disk, metadata: { ...disk.metadata, resourceVersion: '2' } };
      return Promise.resolve(scene.isActive !== false);
    },
    xml: () =>
      Promise.resolve(
        `<pool type='${scene.type ?? 'dir'}'><name>p</name><target><path>${target}</path></target></pool>`,
      ),
    refresh: said('refresh'),
    volume: () =>
      scene.stands === true
        ? Promise.resolve({ delete: said('delete') })
        : Promise.reject(complaintOf('Storage volume not found', ErrorNumber.NO_STORAGE_VOL)),
    createVolume: async (xml: string) => {
      await said(`create ${/<capacity[^>]*>\d+/.exec(xml)?.[0].replace(/.*>/, '') ?? ''}`)();
      if (scene.complaint !== undefined) throw complaintOf(scene.complaint, ErrorNumber.OPERATION_INVALID);
      return { info: () => Promise.resolve({ capacityBytes: scene.bytes ?? 4096 }) };
    },
  };
  const fileHolds = new FileHolds();
  if (scene.isHeld === true) fileHolds.take(new Map([[path, 'write']]), 'it is being removed');
  const receiver = {
    parts: {
      nodeName: 'node-2',
      fileHolds,
      disks: {
        find: () => Promise.resolve(disk),
        mergePatch: (_ref: unknown, { metadata, status }: DiskPatch) => {
          const isOld = (metadata.resourceVersion ?? disk.metadata.resourceVersion) !== disk.metadata.resourceVersion;
          if (isOld) return Promise.reject(new ConflictError('the disk was changed meanwhile'));
          acts.push(`note ${status.move?.state ?? 'nothing'}`);
          if (scene.drops !== true) disk = { ...disk, status: { ...disk.status, move: status.move ?? undefined } };
          return Promise.resolve(disk);
        },
      },
    },
    operation: { metadata: { name: 'op', uid: 'o', namespace: 'shop' } } as VirtualMachineOperation,
    libvirt: { pools: { byName: () => Promise.resolve(pool) } },
    signal: new AbortController().signal,
  } as unknown as DiskReceiver;
  const moved = { target: 'vda', path, format: 'qcow2', copy: true, isMade: false, disk: 'root', bytes: 4096 };
  try {
    await makeDiskVolumes(receiver, [moved]);
  } catch (error) {
    acts.push((error as Error).message.replaceAll(folder, ''));
  }
  return acts;
}

describe('the volume that a disk is copied into', () => {
  it('is noted, and then made with the size that the guest sees', async () => {
    expect(await receive({})).toEqual(['note Copying', 'create 4096']);
  });

  it('is made anew when this migration had made it before', async () => {
    expect(await receive({ stands: true, move: {} })).toEqual(['refresh', 'delete', 'note Copying', 'create 4096']);
  });

  it.each<[string, Scene, readonly string[]]>([
    ['something stands there', { stands: true }, ["/v exists there and is not this disk's; it would be overwritten"]],
    [
      'another migration has one still',
      { move: { operationUid: 'other', nodeName: 'node-3' } },
      ['VirtualDisk "root" has a second volume on node node-3 still'],
    ],
    [
      'the pool is elsewhere',
      { elsewhere: true },
      ['VirtualDisk "root" would be /other/v there and is /v here; the paths must be equal'],
    ],
    ['its volumes are no files', { type: 'logical' }, ['the pool "p" is of type logical; its volumes are no files']],
    ['the pool does not run', { isActive: false }, ['the pool "p" for VirtualDisk "root" is not active there']],
    ['somebody works on the file', { isHeld: true }, ['it is being removed']],
  ])('is neither noted nor made when %s', async (_what, scene, acts) => {
    expect(await receive(scene)).toEqual(acts);
  });

  it('is not made when the note is not kept', async () => {
    expect(await receive({ drops: true })).toEqual([
      'note Copying',
      'the API server drops status.move of VirtualDisks: their CRD is of an older version',
    ]);
  });

  it('is not made where another migration was faster', async () => {
    expect(await receive({ isOvertaken: true })).toEqual(['the disk was changed meanwhile']);
  });

  it('is nobody’s when somebody makes a file of that name in that very moment', async () => {
    const complaint = "volume target path '/v' already exists";
    expect(await receive({ complaint })).toEqual(['note Copying', 'create 4096', 'note nothing', complaint]);
  });

  it('stays noted, to be removed, when it has another size', async () => {
    expect(await receive({ bytes: 1 })).toEqual([
      ...['note Copying', 'create 4096'],
      'the volume for VirtualDisk "root" has 1 bytes, not 4096',
    ]);
  });
});
