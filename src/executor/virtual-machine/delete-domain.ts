import type { LibvirtCallOptions } from './domain-view.ts';
import { isInvalidState, isNotFound, isUnsupported, LibvirtError } from '../../libvirt/errors.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';

/** What goes with a definition, all of it first. Drivers and older daemons do not know every flag. */
const attempts = [
  { managedSave: true, snapshotsMetadata: true, checkpointsMetadata: true, nvram: true, tpm: true },
  { managedSave: true, snapshotsMetadata: true, checkpointsMetadata: true, nvram: true },
  { managedSave: true, snapshotsMetadata: true },
  {},
] as const;

/**
 * Undefines a domain that is off, with its NVRAM, TPM state, saved memory, and the metadata of its snapshots and
 * checkpoints. Disks stay.
 *
 * @throws LibvirtError when libvirt refuses.
 */
export async function deleteDomain(domain: Domain, options: LibvirtCallOptions): Promise<void> {
  let refusal: LibvirtError | undefined;
  for (const flags of attempts) {
    try {
      await domain.undefine({ ...flags, ...options });
      return;
    } catch (error) {
      if (isNotFound(error)) return;
      const isFlag = isUnsupported(error) || (error instanceof LibvirtError && /flags?\b/.test(error.message));
      if (!isFlag || isInvalidState(error)) throw error;
      refusal ??= error as LibvirtError;
    }
  }
  if (refusal !== undefined) throw refusal;
}
