import { announceOurs } from './announce-ours.ts';
import { uploadOf } from '../../api/image-upload.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import type { ObjectRef } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/** How long it may take: also after an interruption, but not for long. */
const timeoutMs = 3_000;

/**
 * Says that what a command sent, if anything, goes no further.
 *
 * @param ids Of its uploads.
 * @throws ConflictError when another one takes over at the same time.
 */
export async function tellEnd(
  images: Pick<ResourceClient<VirtualImage>, 'find' | 'mergePatch'>,
  ref: ObjectRef,
  ids: ReadonlySet<string>,
): Promise<void> {
  if (ids.size === 0) return;
  const signal = AbortSignal.timeout(timeoutMs);
  const image = await images.find(ref, { signal });
  const upload = image === undefined ? undefined : uploadOf(image);
  if (image === undefined || upload?.state !== 'Uploading' || !ids.has(upload.id)) return;
  await announceOurs(images, image, { ...upload, isOver: true }, signal);
}
