import { describe, expect, it } from 'vitest';
import type { VirtualImage } from '../../../src/api/virtual-image.ts';
import { ConflictError } from '../../../src/base/errors.ts';
import { imageWork, tell } from '../../../src/executor/virtual-image/image-work.ts';
import type { StorageContext } from '../../../src/executor/virtual-pool/storage-context.ts';

const image = (uid: string): VirtualImage => ({
  ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualImage' },
  metadata: { name: 'base', namespace: 'shop', uid, resourceVersion: '1' },
  spec: { source: {} },
});

describe('an image that is brought to a node', () => {
  it('is not told of another object of its name that was made meanwhile', async () => {
    const written: unknown[] = [];
    const context = {
      ...{ nodeName: 'node-1', spoolFolder: '/no/such/folder', clock: { now: () => 0 } },
      ...{ usersOf: () => [], knownDisks: () => [], record: () => undefined },
      images: {
        get: () => Promise.resolve(image('second')),
        find: () => Promise.resolve(image('second')),
        mergePatch: (_ref: unknown, patch: unknown) => Promise.resolve(written.push(patch)),
      },
    } as unknown as StorageContext;
    const work = imageWork(context, image('first'), 'node-1', undefined as never, new AbortController().signal);
    await expect(tell(work, { phase: 'Ready', path: '/pool/image' })).rejects.toThrow(ConflictError);
    expect(written).toEqual([]);
  });
});
