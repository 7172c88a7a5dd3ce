import { virtualDiskKind } from '../../api/kinds.ts';
import { findCondition } from '../../api/meta.ts';
import { formatBytes, formatBytesRounded, parseQuantity } from '../../api/quantity.ts';
import { assertValid } from '../../api/validate.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import { ConflictError, FailedError, NotFoundError, UsageError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { withKubeClient, type KubeFlags } from '../../cli/kube-options.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { retryOnConflict } from '../../cli/retry-on-conflict.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import { writeResult } from '../../cli/write-result.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/** The flags of `virtctl disk resize`. */
export interface ResizeFlags extends KubeFlags {
  readonly shrink?: boolean;
  readonly wait: boolean;
  readonly timeout: number;
}

/** Sectors that sizes are made of. */
const sectorBytes = 512;

/**
 * Sets a disk's size and waits until it has it.
 *
 * @param size A quantity, as `20Gi`; with `+` in front it is added.
 * @throws ConflictError when it would be smaller and `--shrink` is not given; FailedError with libvirt's words.
 */
export async function resizeDisk(context: Context, name: string, size: string, flags: ResizeFlags): Promise<void> {
  const isMore = size.startsWith('+');
  const given = parseQuantity(isMore ? size.slice(1) : size);
  if (given === undefined || given <= 0) throw new UsageError(`"${size}" is not a size, as 20Gi or +5Gi`);
  const { signal } = context;
  await withKubeClient(context, flags, async (client) => {
    const disks = client.resource<VirtualDisk>(resourceTypeOf(virtualDiskKind));
    const ref = { namespace: client.namespace, name };
    const { bytes, capacity, changed } = await retryOnConflict(() => writeSize(disks, ref, size, given, flags, signal));
    const { uid } = changed.metadata;
    if (!flags.wait) {
      await writeResult(context, `vdisk/${name} is to have ${capacity}\n`);
      return;
    }
    const wanted = Math.ceil(bytes / sectorBytes) * sectorBytes;
    const settled = (now: VirtualDisk | undefined): boolean => {
      if (now === undefined || now.metadata.uid !== uid) throw new NotFoundError(`vdisk/${name} was deleted meanwhile`);
      if (parseQuantity(now.status?.capacity ?? '') === wanted) return true;
      // It is not made yet: it gets that size then.
      if (now.status?.path === undefined) return true;
      const resizing = findCondition(now.status, 'Resizing');
      const isNew = (resizing?.observedGeneration ?? 0) >= (changed.metadata.generation ?? 0);
      if (resizing !== undefined && isNew && resizing.reason !== 'Available') {
        throw new FailedError(`vdisk/${name}: ${resizing.message ?? resizing.reason ?? ''}`);
      }
      return false;
    };
    const what = `vdisk/${name} to have ${capacity} (see 'virtctl describe vdisk ${name}')`;
    await waitForObject(disks, ref, settled, { signal, timeoutMs: flags.timeout, what });
    await writeResult(context, `vdisk/${name} resized to ${capacity}\n`);
  });
}

/** Writes a disk's new size, if it may be. */
async function writeSize(
  disks: ResourceClient<VirtualDisk>,
  ref: { readonly namespace: string; readonly name: string },
  size: string,
  given: number,
  { shrink }: ResizeFlags,
  signal: AbortSignal,
): Promise<{ readonly bytes: number; readonly capacity: string; readonly changed: VirtualDisk }> {
  const { name } = ref;
  const isMore = size.startsWith('+');
  const disk = await disks.get(ref, { signal });
  const is = parseQuantity(disk.status?.capacity ?? disk.spec.capacity ?? '');
  if (isMore && is === undefined) throw new ConflictError(`nobody knows yet how large vdisk/${name} is`);
  const bytes = isMore ? (is ?? 0) + given : given;
  if (is !== undefined && bytes < is && shrink !== true) {
    throw new ConflictError(
      `vdisk/${name}: shrinking from ${formatBytesRounded(is)} to ${formatBytesRounded(bytes)} destroys what is stored ` +
        'behind the new end',
      { hint: 'make the file system in it smaller first, then give --shrink' },
    );
  }
  const capacity = isMore ? formatBytes(bytes) : size;
  const { resourceVersion, uid } = disk.metadata;
  const spec = { capacity, ...(shrink === true ? { allowShrink: true } : {}) };
  assertValid({ ...disk, spec: { ...disk.spec, ...spec } }, { old: disk });
  const changed = await disks.mergePatch(ref, { metadata: { resourceVersion, uid }, spec }, { signal });
  return { bytes, capacity, changed };
}
