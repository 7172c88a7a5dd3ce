import { describe, expect, it } from 'vitest';
import { FinalizerKeeper } from '../../src/controller/finalizer-keeper.ts';
import type { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/object.ts';

const { signal } = new AbortController();

/** What the keeper makes of the finalizers of an object; undefined when it writes nothing. */
async function finalizersAfter(
  hold: { readonly status: 'True' | 'False'; readonly message: string } | undefined,
  metadata: Partial<KubeObject['metadata']>,
): Promise<readonly string[] | undefined> {
  const object: KubeObject & { readonly status: object } = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { namespace: 'shop', name: 'web', uid: 'u', resourceVersion: '7', ...metadata },
    status: { conditions: hold === undefined ? [] : [{ type: 'Hold', ...hold }] },
  };
  let written: readonly string[] | undefined;
  const client = {
    resource: () => ({
      find: () => Promise.resolve(object),
      mergePatch: (_ref: unknown, patch: { readonly metadata: { readonly finalizers: readonly string[] } }) => {
        expect(patch.metadata).toMatchObject({ uid: 'u', resourceVersion: '7' });
        written = patch.metadata.finalizers;
        return Promise.resolve(object);
      },
    }),
  } as unknown as KubeClient;
  await new FinalizerKeeper(client, { held: () => new Map() }).reconcile('VirtualMachine shop/web', signal);
  return written;
}

const domain = 'virtctl.dev/domain';
const deletionTimestamp = '2026-01-01T00:00:00Z';

describe('FinalizerKeeper', () => {
  it('adds what an executor asks for', async () => {
    expect(await finalizersAfter({ status: 'True', message: domain }, { finalizers: ['a/b'] })).toEqual([
      'a/b',
      domain,
    ]);
  });

  it('takes away what an executor released, of an object that is being deleted', async () => {
    const metadata = { finalizers: [domain, 'a/b'], deletionTimestamp };
    expect(await finalizersAfter({ status: 'False', message: domain }, metadata)).toEqual(['a/b']);
  });

  it('keeps the finalizer of an object that nobody deletes', async () => {
    expect(await finalizersAfter({ status: 'False', message: domain }, { finalizers: [domain] })).toBeUndefined();
  });

  it('adds none to an object that is being deleted, and none twice', async () => {
    expect(await finalizersAfter({ status: 'True', message: domain }, { deletionTimestamp })).toBeUndefined();
    expect(await finalizersAfter({ status: 'True', message: domain }, { finalizers: [domain] })).toBeUndefined();
    expect(await finalizersAfter(undefined, {})).toBeUndefined();
  });

  it("touches nobody else's finalizer", async () => {
    const metadata = { finalizers: ['foregroundDeletion', 'other.dev/keep'], deletionTimestamp };
    for (const message of metadata.finalizers) {
      expect(await finalizersAfter({ status: 'False', message }, metadata)).toBeUndefined();
    }
  });
});
