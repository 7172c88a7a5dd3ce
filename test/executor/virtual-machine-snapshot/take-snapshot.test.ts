import { describe, expect, it } from 'vitest';
import type { VirtualDisk } from '../../../src/api/virtual-disk.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import type { VirtualMachineSnapshot } from '../../../src/api/virtual-machine-snapshot.ts';
import type { SnapshotContext } from '../../../src/executor/virtual-machine-snapshot/snapshot-context.ts';
import { takeSnapshot, type TakeInput } from '../../../src/executor/virtual-machine-snapshot/take-snapshot.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const { signal } = new AbortController();
const meta = (name: string) => ({ metadata: { name, namespace: 'shop', uid: name, resourceVersion: '1' } });

/** What becomes of a snapshot of a machine that is off, whose disk `data` has a file or volume, and the domain another one. */
async function take(path: string, source: object): Promise<VirtualMachineSnapshot['status']> {
  let stored = { ...meta('before'), spec: { virtualMachine: 'web' } } as VirtualMachineSnapshot;
  const disk = { ...meta('data'), spec: {}, status: { phase: 'Ready', path } } as VirtualDisk;
  const machine = {
    ...meta('web'),
    spec: { volumes: [{ name: 'data', virtualDisk: 'data' }] },
    status: { volumes: [{ name: 'data', target: 'vda' }] },
  } as unknown as VirtualMachine;
  const context = {
    clock: new ManualClock(),
    disks: { find: () => Promise.resolve(disk) },
    record: () => undefined,
    snapshots: {
      mergePatch: (_ref: unknown, { status }: Partial<VirtualMachineSnapshot>) =>
        Promise.resolve((stored = { ...stored, status: { ...stored.status, ...status } })),
    },
  } as unknown as SnapshotContext;
  const silent = { str1: null, str2: null, str3: null, int1: 0, int2: 0 };
  const code = ErrorNumber.NO_DOMAIN_SNAPSHOT;
  const unknown = new LibvirtError('x', { ...silent, code, domain: 10, level: 2, message: 'no snapshot' });
  const inactive = { devices: { disk: [{ device: 'disk', ...source, target: { dev: 'vda' } }] } };
  const view = { state: 'off', inactive, domain: { snapshots: { byName: () => Promise.reject(unknown) } } };
  await takeSnapshot(context, stored, { machine, view, others: [], signal } as unknown as TakeInput);
  return stored.status;
}

describe('a snapshot of a machine that is off', () => {
  it('waits while the definition names another file than the disk has', async () => {
    expect(await take('/p/data.qcow2', { type: 'file', source: { file: '/p/merged.qcow2' } })).toMatchObject({
      phase: 'Pending',
      message: 'the domain has not been given the file of VirtualDisk "data" yet',
    });
  });

  it('is refused, and does not wait, when its disk is a volume of a pool over the network', async () => {
    const source = { type: 'volume', driver: { type: 'raw' }, source: { pool: 'ceph', volume: 'data' } };
    expect(await take('ceph/data', source)).toMatchObject({
      phase: 'Failed',
      message: expect.stringContaining('disk vda is no file') as string,
    });
  });
});
