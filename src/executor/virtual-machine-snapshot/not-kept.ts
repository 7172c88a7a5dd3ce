/**
 * State of a machine that is neither on its disks nor in its memory, and that libvirt 9.0 keeps with no snapshot: a revert
 * leaves it as it is then. Pure.
 */
import { devicesOf } from '../virtual-machine/domain-view.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';

/**
 * What a snapshot leaves out, for people.
 *
 * @param domain The running domain, or its definition.
 * @param memory Whether the memory is kept: QEMU writes the TPM's state with it.
 */
export function notKept(domain: DataObject, memory: boolean): string[] {
  const os = memberAt(domain, 'os');
  // A definition names the file only when libvirt has chosen one.
  const hasNvram =
    memberAt(os, 'nvram') !== undefined ||
    textOf(memberAt(os, 'firmware')) === 'efi' ||
    textOf(memberAt(os, 'loader', 'type')) === 'pflash';
  const hasTpm = devicesOf(domain, 'tpm').some((tpm) => textOf(memberAt(tpm, 'backend', 'type')) === 'emulator');
  return [
    ...(hasNvram ? ["the firmware's variables (NVRAM)"] : []),
    ...(hasTpm && !memory ? ['the state of the TPM'] : []),
  ];
}
