/**
 * What `virtctl image upload` and the executor tell each other: an annotation of the VirtualImage. The content itself goes
 * through libvirt, into the volume that {@link imageVolumeName} names.
 *
 *   Uploading (before the first byte) ─▶ Complete (libvirt has all of it; its size and checksum) ─▶ status of the executor
 *       └─▶ Uploading, with how much libvirt has confirmed: where the next command goes on when this one is cut off
 */
import type { VirtualImage } from './virtual-image.ts';
import type { VirtualPool } from './virtual-pool.ts';

/** The annotation of an upload. */
export const uploadAnnotation = 'virtctl.dev/upload';

/** How far an upload is, as the one who sends it says. */
export interface ImageUpload {
  /** Of this attempt; another attempt has another. */
  readonly id: string;
  /** Whose libvirt it goes to. */
  readonly nodeName: string;
  readonly state: 'Uploading' | 'Complete';
  /** The size of the file in bytes. */
  readonly bytes: number;
  /** How many bytes from the first on libvirt has confirmed; with `Uploading`. */
  readonly sent?: number;
  /** Over those bytes of the file, as `sha256:…`; with `sent`. */
  readonly sentChecksum?: string;
  /** Its command has ended with less than all of it; with `Uploading`. Without, it may still be sending. */
  readonly isOver?: true;
  /** Over the file as it was sent, as `sha256:…`; with `Complete`. */
  readonly checksum?: string;
}

/** How the executor begins the message of an upload that arrived otherwise than it was sent. */
export const arrivedOtherwise = 'what arrived is not what was sent';

/** The name at libvirt of the volume that an image is. */
export function imageVolumeName(image: VirtualImage): string {
  const { namespace = 'default', name = '' } = image.metadata;
  // No namespace has an underscore: it is never the volume of a VirtualDisk of that name.
  return `image_${namespace}.${name}.${image.spec.format ?? 'qcow2'}`;
}

/** The name of a pool at libvirt. */
export function libvirtPoolName(pool: VirtualPool): string {
  return pool.spec.pool?.name ?? pool.metadata.name ?? '';
}

/** The upload that an image's annotation tells of; undefined where there is none, or it says nothing sensible. */
export function uploadOf(image: VirtualImage): ImageUpload | undefined {
  const text = image.metadata.annotations?.[uploadAnnotation];
  if (text === undefined) return undefined;
  let value: Partial<Record<keyof ImageUpload, unknown>> | null;
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    // Anybody can write an annotation.
    return undefined;
  }
  const { id, nodeName, state, bytes, sent, sentChecksum, isOver, checksum } = value ?? {};
  if (typeof id !== 'string' || typeof nodeName !== 'string') return undefined;
  if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0) return undefined;
  if (state === 'Uploading') {
    const isKept =
      typeof sent === 'number' && Number.isSafeInteger(sent) && sent > 0 && sent <= bytes && isSha256(sentChecksum);
    return {
      id,
      nodeName,
      state,
      bytes,
      ...(isKept ? { sent, sentChecksum } : {}),
      ...(isOver === true ? { isOver } : {}),
    };
  }
  if (state !== 'Complete' || typeof checksum !== 'string' || !/^sha(256|512):[0-9a-f]+$/.test(checksum)) {
    return undefined;
  }
  return { id, nodeName, state, bytes, checksum };
}

function isSha256(value: unknown): value is string {
  return typeof value === 'string' && /^sha256:[0-9a-f]{64}$/.test(value);
}
