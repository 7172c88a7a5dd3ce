import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { MachineStatus } from '../../../src/executor/virtual-machine/machine-status.ts';
import type { ResourceClient } from '../../../src/kube/resource-client.ts';

/** What was read: generation 1, which is on. */
const read: VirtualMachine = {
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop', uid: 'c0ffee', generation: 1, resourceVersion: '10' },
  spec: { nodeName: 'node-1', runStrategy: 'Always' },
};

/** The status of a machine whose spec somebody changes right after it was read. */
function statusOfChanged(): MachineStatus {
  let stored: VirtualMachine = {
    ...read,
    metadata: { ...read.metadata, generation: 2, resourceVersion: '11', deletionTimestamp: '2026-01-01T00:00:00Z' },
    spec: { ...read.spec, runStrategy: 'Halted' },
  };
  const client = {
    mergePatch: (_ref: unknown, { status }: Pick<VirtualMachine, 'status'>) => {
      const resourceVersion = String(Number(stored.metadata.resourceVersion) + 1);
      stored = {
        ...stored,
        metadata: { ...stored.metadata, resourceVersion },
        status: { ...stored.status, ...status },
      };
      return Promise.resolve(stored);
    },
  } as unknown as ResourceClient<VirtualMachine>;
  return new MachineStatus(client, read, () => 0, new AbortController().signal);
}

describe('the machine of a status, after its spec was changed at the server', () => {
  it('has the generation of its spec, whatever was stored meanwhile', async () => {
    const status = statusOfChanged();
    await status.note({ power: { boot: 'b' } });
    expect(status.machine.spec.runStrategy).toBe('Always');
    expect(status.machine.metadata.generation).toBe(1);
    status.next.observedGeneration = status.machine.metadata.generation;
    status.condition('Ready', true, 'Running');
    await status.write();
    expect(status.machine.metadata.generation).toBe(1);
    expect(status.machine.status).toMatchObject({
      observedGeneration: 1,
      conditions: [{ type: 'Ready', observedGeneration: 1 }],
    });
  });

  it('has everything else of what is stored, for the writes that follow', async () => {
    const status = statusOfChanged();
    await status.note({ power: { boot: 'b' } });
    expect(status.machine.metadata).toMatchObject({
      resourceVersion: '12',
      deletionTimestamp: '2026-01-01T00:00:00Z',
    });
    status.next.printableStatus = 'Running';
    await status.write();
    expect(status.machine.metadata.resourceVersion).toBe('13');
  });
});

describe('a status that somebody else writes to during a reconcile', () => {
  /** The status of a machine to which somebody adds what the first write finds there. */
  function statusWith(theirs: VirtualMachine['status']): { readonly status: MachineStatus; readonly sent: object[] } {
    const sent: object[] = [];
    const client = {
      mergePatch: (_ref: unknown, { status }: Pick<VirtualMachine, 'status'>) => {
        sent.push(status ?? {});
        return Promise.resolve({ ...read, status: { ...theirs, ...status } });
      },
    } as unknown as ResourceClient<VirtualMachine>;
    return { status: new MachineStatus(client, read, () => 0, new AbortController().signal), sent };
  }

  it('keeps what is theirs', async () => {
    const lastStop = { reason: 'Shutdown' } as const;
    const { status, sent } = statusWith({ lastStop });
    await status.note({ printableStatus: 'Stopping' });
    expect(status.next.lastStop).toEqual(lastStop);
    status.next.observedGeneration = 1;
    await status.write();
    expect(sent).toEqual([{ printableStatus: 'Stopping' }, { observedGeneration: 1 }]);
  });

  it('has its own way with what it found out itself', async () => {
    const { status, sent } = statusWith({ lastStop: { reason: 'Shutdown' } });
    status.next.lastStop = { reason: 'Crashed' };
    await status.note({ printableStatus: 'Stopping' });
    await status.write();
    expect(sent).toEqual([{ printableStatus: 'Stopping', lastStop: { reason: 'Crashed' } }]);
  });

  it('tells how a run ended with the first note, all of it', async () => {
    const failures = { count: 1, lastAt: '2026-01-01T00:00:00Z' };
    const { status, sent } = statusWith({});
    status.next.lastStop = { reason: 'Crashed' };
    status.next.failures = failures;
    await status.note({ power: { boot: 'b' }, failures: null });
    expect(sent).toEqual([{ power: { boot: 'b' }, lastStop: { reason: 'Crashed' }, failures: null }]);
    await status.note({});
    expect(sent).toHaveLength(1);
  });
});
