import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { UnreachableError } from '../../../src/base/errors.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { MigrationReceiver } from '../../../src/executor/migration/receive-machine.ts';
import type { MachineReconcilerOptions } from '../../../src/executor/virtual-machine/round.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { makeTestFolder } from '../../support/test-folder.ts';

const uuid = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';
const noDomain = new LibvirtError('domainLookupByUuid', {
  ...{ code: ErrorNumber.NO_DOMAIN, domain: 0, message: 'no domain', level: 2 },
  ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
});

interface Scene {
  readonly status: NonNullable<VirtualMachineOperation['status']>;
  /** Whether a guest of the machine executes on the node. */
  readonly runs?: boolean;
  readonly libvirtState?: { readonly state: string; readonly reason: string };
  /** The disk of somebody's domain there. */
  readonly user?: string;
}

/** A migration from node-1 to node-2, as the executor of a node sees it. */
function scene({ status, runs = false, user, libvirtState = { state: 'running', reason: 'migrated' } }: Scene) {
  const acts: string[] = [];
  const act = (name: string) => (): Promise<void> => {
    acts.push(name);
    return Promise.resolve();
  };
  const now = {
    operation: {
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachineOperation' },
      metadata: { name: 'op', namespace: 'shop', uid: 'o', finalizers: ['virtctl.dev/migration'] },
      spec: { virtualMachine: 'web', verb: 'Migrate' },
      status: {
        ...status,
        context: { machineUid: uuid, source: 'node-1', target: 'node-2', ...status.context },
      },
    } as VirtualMachineOperation,
    machine: {
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine' },
      metadata: { name: 'web', namespace: 'shop', uid: uuid },
      spec: { nodeName: 'node-1', domain: { type: 'qemu' } },
    } as VirtualMachine | undefined,
    /** What is done while libvirt is asked for the domain. */
    meanwhile: (): void => undefined,
    /** Whether the API server does not answer to a note. */
    isSilentTo: (_note: Readonly<Record<string, string>>): boolean => false,
  };
  const domain = {
    ...{ name: 'shop.web', uuid },
    state: () => {
      now.meanwhile();
      return Promise.resolve(libvirtState);
    },
    xml: () => Promise.resolve(`<domain type='qemu' id='7'><name>shop.web</name><uuid>${uuid}</uuid></domain>`),
    isPersistent: () => Promise.resolve(true),
    hasManagedSave: () => Promise.resolve(false),
    ...{ undefine: act('undefine'), destroy: act('destroy') },
    job: { stats: () => Promise.resolve({ type: 'none', operation: 'unknown' }) },
  };
  const lookUp = () => (runs ? Promise.resolve(domain) : Promise.reject(noDomain));
  const xml = `<domain><devices><disk type='file'><source file='${user ?? ''}'/></disk></devices></domain>`;
  const others = user === undefined ? [] : [{ name: 'other', xml: () => Promise.resolve(xml) }];
  const clock = new ManualClock();
  const partsOf = (nodeName: string) =>
    ({
      nodeName,
      machines: { find: () => Promise.resolve(now.machine) },
      operations: {
        find: () => Promise.resolve(now.operation),
        mergePatch: (_ref: unknown, { metadata, status }: Partial<VirtualMachineOperation>) => {
          const before = now.operation;
          if (now.isSilentTo(status?.context ?? {})) return Promise.reject(new UnreachableError('no answer'));
          if (metadata?.finalizers !== undefined) acts.push('finalizer');
          const context = { ...before.status?.context, ...status?.context };
          now.operation = { ...before, status: { ...before.status, context } };
          return Promise.resolve(now.operation);
        },
      },
      openOperations: () => [],
      media: { remove: () => Promise.resolve() },
      traits: () => ({ kvmUsable: false, kvmMessage: '' }),
      libvirt: () => ({ domains: { byUuid: lookUp, byName: lookUp, list: () => Promise.resolve(others) } }),
      clock,
    }) as unknown as MachineReconcilerOptions;
  const look = (nodeName: string) =>
    new MigrationReceiver({ parts: partsOf(nodeName), migrationUri: 'qemu+tls://node-2/system' }).reconcile('shop/op', {
      signal: new AbortController().signal,
      logger: silentLogger,
    });
  return { now, acts, look };
}

function preparing(path: string): Scene {
  const disks = [{ target: 'vda', path, format: 'raw', copy: true, isMade: false, bytes: 4096 }];
  return { status: { phase: 'Running', step: 'Preparing', context: { disks: JSON.stringify(disks) } } };
}

describe('what a target makes for a guest', () => {
  it('is not in its own way when the API server did not answer', async () => {
    const path = join(makeTestFolder('receive'), 'a');
    const { now, look } = scene(preparing(path));
    now.isSilentTo = ({ destination }) => destination !== undefined;
    await expect(look('node-2')).rejects.toThrow('no answer');
    now.isSilentTo = () => false;
    await look('node-2');
    expect(now.operation.status?.context).toMatchObject({
      destination: 'qemu+tls://node-2/system',
      made: `["${path}"]`,
    });
    expect(now.operation.status?.context?.['refusal']).toBeUndefined();
  });

  it('goes when the migration was given up before the target was ready', async () => {
    const path = join(makeTestFolder('receive'), 'a');
    await writeFile(path, '');
    const { now, look } = scene({ status: { phase: 'Failed', context: { made: JSON.stringify([path]) } } });
    await look('node-2');
    expect([existsSync(path), now.operation.status?.context?.['cleaned']]).toEqual([false, 'node-2']);
  });
});

describe('a guest at the target of a migration that has failed', () => {
  const failed: Scene = {
    runs: true,
    status: { phase: 'Failed', context: { destination: 'qemu+tls://node-2/system', holder: 'source' } },
  };

  it('is ended when the source has it', async () => {
    const { acts, look } = scene(failed);
    await look('node-2');
    expect(acts).toEqual(['destroy', 'undefine', 'finalizer']);
  });

  it('is not when a later migration brought it while libvirt was slow', async () => {
    const { now, acts, look } = scene(failed);
    now.meanwhile = () => {
      now.machine = { ...now.machine, spec: { nodeName: 'node-2' } } as VirtualMachine;
    };
    await look('node-2');
    expect(acts).toEqual(['finalizer']);
  });
});

describe('what a target says of a guest', () => {
  const asked = { phase: 'Running', step: 'Switching', context: { asked: 'q' } } as const;
  it.each<[string, string, string | undefined]>([
    ['paused', 'migration', undefined],
    ['paused', 'starting-up', undefined],
    ['paused', 'user', 'q running'],
    ['paused', 'postcopy-failed', 'q running'],
    ['running', 'migrated', 'q running'],
  ])('that is %s (%s) without a job', async (state, reason, answer) => {
    const { now, look } = scene({ status: asked, runs: true, libvirtState: { state, reason } });
    const again = await look('node-2');
    expect(now.operation.status?.context?.['answer']).toBe(answer);
    expect(again === undefined).toBe(answer !== undefined);
  });
});

describe('the operation of a migration that has failed', () => {
  // The clock stands at 2030.
  const failed = (context: Readonly<Record<string, string>>, completionTime = '2029-12-31T23:59:59Z'): Scene => ({
    status: { phase: 'Failed', completionTime, context },
  });
  const ready = { destination: 'qemu+tls://node-2/system' };

  it('stays at the source until the target has removed what is left', async () => {
    const { acts, look } = scene(failed(ready));
    await look('node-1');
    expect(acts).toEqual([]);
    await look('node-2');
    await look('node-1');
    expect(acts).toContain('finalizer');
  });

  it('does not wait for ever for a target that is away', async () => {
    const { acts, look } = scene(failed(ready, '2029-12-31T23:49:00Z'));
    await look('node-1');
    expect(acts).toEqual(['finalizer']);
  });

  it('does not wait for a target that has made nothing', async () => {
    const { acts, look } = scene(failed({}));
    await look('node-1');
    expect(acts).toEqual(['finalizer']);
  });

  it('has the target remove its files also when the machine is gone', async () => {
    const path = join(makeTestFolder('receive'), 'a');
    await writeFile(path, '');
    const { now, acts, look } = scene(failed({ ...ready, made: JSON.stringify([path]) }));
    now.machine = undefined;
    await look('node-2');
    expect([existsSync(path), acts]).toEqual([false, ['finalizer']]);
  });

  it('leaves a file there that somebody’s domain has by now', async () => {
    const path = join(makeTestFolder('receive'), 'a');
    await writeFile(path, '');
    const { now, look } = scene({ ...failed({ ...ready, made: JSON.stringify([path]) }), user: path });
    now.machine = undefined;
    await look('node-2');
    expect(existsSync(path)).toBe(true);
  });
});
