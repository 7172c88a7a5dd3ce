import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ExitCode } from '../../src/base/exit-code.ts';
import { waitForObject } from '../../src/cli/wait-for-object.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import type { ListWatchSource } from '../../src/kube/reflector.ts';

interface Operation extends KubeObject {
  readonly status?: object;
}

/** A server that has these objects, and never has a change. */
function holding(...items: readonly Operation[]): ListWatchSource<Operation> {
  const page = { items, resourceVersion: '7', continue: undefined };
  return {
    list: () => Promise.resolve(page),
    listAll: () => Promise.resolve(page),
    // eslint-disable-next-line require-yield -- nothing ever happens
    async *watch({ signal }) {
      if (signal !== undefined && !signal.aborted) await once(signal, 'abort');
    },
  };
}

describe('a wait of the command line', () => {
  const ref = { namespace: 'n', name: 'web-migrate' };
  const moving: Operation = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachineOperation',
    metadata: { ...ref, uid: 'u', resourceVersion: '7' },
    status: { phase: 'Running', step: 'Migrating', percent: 45, message: 'the guest is sent' },
  };

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Waits in vain: the time is over once the object, or that there is none, was seen. */
  async function waitInVain(source: ListWatchSource<Operation>): Promise<unknown> {
    const { signal } = new AbortController();
    const settled = (): boolean => {
      queueMicrotask(() => vi.advanceTimersByTime(60_000));
      return false;
    };
    const waiting = waitForObject(source, ref, settled, { signal, timeoutMs: 60_000, what: 'vmop/x to be over' });
    return waiting.catch((error: unknown) => error);
  }

  it('says at its deadline how far the object was', async () => {
    expect(await waitInVain(holding(moving))).toMatchObject({
      message:
        'timed out after 60 s: waiting for vmop/x to be over; last seen Running at step Migrating, 45 %: the guest is sent',
      exitCode: ExitCode.TimedOut,
    });
  });

  it('says nothing more when there was no object', async () => {
    expect(await waitInVain(holding())).toMatchObject({
      message: 'timed out after 60 s: waiting for vmop/x to be over',
      exitCode: ExitCode.TimedOut,
    });
  });
});
