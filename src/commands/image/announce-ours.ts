import { takenOver } from './while-ours.ts';
import { uploadAnnotation, uploadOf, type ImageUpload } from '../../api/image-upload.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import { NotFoundError } from '../../base/errors.ts';
import { retryOnConflict } from '../../cli/retry-on-conflict.ts';
import { refOf } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/**
 * Says how far an upload is, unless another one has taken over: its word is never written over, whenever it comes.
 *
 * @param image As the upload knows it.
 * @throws ConflictError when another one has taken over; NotFoundError when the image is gone.
 */
export async function announceOurs(
  images: Pick<ResourceClient<VirtualImage>, 'find' | 'mergePatch'>,
  image: VirtualImage,
  upload: ImageUpload,
  signal: AbortSignal,
): Promise<VirtualImage> {
  const annotations = { [uploadAnnotation]: JSON.stringify(upload) };
  const { uid, name = '' } = image.metadata;
  return retryOnConflict(async () => {
    const now = await images.find(refOf(image), { signal });
    if (now === undefined || now.metadata.uid !== uid) throw new NotFoundError(`vimg/${name} was deleted meanwhile`);
    if (uploadOf(now)?.id !== upload.id) throw takenOver();
    const { resourceVersion } = now.metadata;
    return images.mergePatch(refOf(image), { metadata: { uid, resourceVersion, annotations } }, { signal });
  });
}
