import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { uploadAnnotation, uploadOf, type ImageUpload } from '../../../src/api/image-upload.ts';
import { virtualImageKind } from '../../../src/api/kinds.ts';
import type { VirtualImage } from '../../../src/api/virtual-image.ts';
import { resourceTypeOf } from '../../../src/cli/machine-verb.ts';
import { announceOurs } from '../../../src/commands/image/announce-ours.ts';
import { tellEnd } from '../../../src/commands/image/tell-end.ts';
import type { ResourceClient } from '../../../src/kube/resource-client.ts';
import { startTestApi, type TestApi } from '../../support/test-api.ts';

describe('what an upload says of itself', () => {
  let api: TestApi;
  let images: ResourceClient<VirtualImage>;
  let image: VirtualImage;
  let count = 0;
  const ours: ImageUpload = { id: 'ours', nodeName: 'n1', state: 'Uploading', bytes: 10 };
  const theirs: ImageUpload = { ...ours, id: 'theirs' };
  const { signal } = new AbortController();

  beforeAll(async () => {
    api = await startTestApi('announce-ours');
    images = api.client.resource(resourceTypeOf(virtualImageKind));
  });
  afterAll(() => api.close());
  beforeEach(async () => {
    count += 1;
    image = await images.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualImage',
      metadata: {
        namespace: 'default',
        name: `debian-${String(count)}`,
        annotations: { [uploadAnnotation]: JSON.stringify(ours) },
      },
      spec: { source: { upload: {} } },
    });
  });

  const ref = (): { namespace: string; name: string } => ({ namespace: 'default', name: image.metadata.name ?? '' });
  const takeOver = (): Promise<unknown> =>
    images.mergePatch(ref(), { metadata: { annotations: { [uploadAnnotation]: JSON.stringify(theirs) } } });
  /** Somebody acts after the image was read, once. */
  function between(act: () => Promise<unknown>): Pick<ResourceClient<VirtualImage>, 'find' | 'mergePatch'> {
    let isDone = false;
    return {
      find: async (at, options) => {
        const found = await images.find(at, options);
        if (!isDone) await act();
        isDone = true;
        return found;
      },
      mergePatch: (at, patch, options) => images.mergePatch(at, patch, options),
    };
  }

  it('is never written over what another one says that takes over at the same time', async () => {
    const complete = { ...ours, state: 'Complete' as const, checksum: `sha256:${'0'.repeat(64)}` };
    await expect(announceOurs(between(takeOver), image, complete, signal)).rejects.toThrow('another upload');
    expect(uploadOf(await images.get(ref()))).toEqual(theirs);
  });

  it('is written although the executor writes status at the same time', async () => {
    const tell = (): Promise<unknown> =>
      images.mergePatch(ref(), { status: { phase: 'Pending' } }, { subresource: 'status' });
    await announceOurs(between(tell), image, { ...ours, sent: 5, sentChecksum: `sha256:${'0'.repeat(64)}` }, signal);
    expect(uploadOf(await images.get(ref()))).toMatchObject({ id: 'ours', sent: 5 });
  });

  it('is never written over what another one says that takes over while it ends', async () => {
    await expect(tellEnd(between(takeOver), ref(), new Set(['ours']))).rejects.toThrow('another upload');
    expect(uploadOf(await images.get(ref()))).toEqual(theirs);
  });

  it('is that it has ended, when nobody takes over', async () => {
    await tellEnd(images, ref(), new Set(['another', 'ours']));
    expect(uploadOf(await images.get(ref()))).toEqual({ ...ours, isOver: true });
  });

  it('is not written to another image of the same name', async () => {
    await images.delete(ref());
    await expect(announceOurs(images, image, ours, signal)).rejects.toThrow('deleted meanwhile');
  });
});
