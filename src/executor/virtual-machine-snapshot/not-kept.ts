/**
 * State of a machine that is neither on its disks nor in its memory, and that libvirt 9.0 keeps with no snapshot: a revert
 * leaves it as it is then. Pure.
 */
import { devicesOf } from '../virtual-machine/domain-view.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';

/** Where the firmware of a machine keeps its variables. */
export interface NvramState {
  /** In a file of its own, whether libvirt has made it yet or not. */
  readonly hasNvram: boolean;
  /**
   * The domain's own description has the flash chips: libvirt 9.0 takes no internal snapshot of it, be it off or not. A
   * definition with `firmware='efi'` has them only while it runs.
   */
  readonly hasFlash: boolean;
}

/** @param domain The running domain, or its definition. */
export function nvramOf(domain: DataObject): NvramState {
  const os = memberAt(domain, 'os');
  const hasFlash = textOf(memberAt(os, 'loader', 'type')) === 'pflash';
  // A definition names the file only when libvirt has chosen one.
  const isChosen = memberAt(os, 'nvram') !== undefined || textOf(memberAt(os, 'firmware')) === 'efi';
  return { hasNvram: isChosen || hasFlash, hasFlash };
}

/**
 * What a snapshot leaves out, for people.
 *
 * @param domain The running domain, or its definition.
 * @param memory Whether the memory is kept: QEMU writes the TPM's state with it.
 */
export function notKept(domain: DataObject, memory: boolean): string[] {
  const { hasNvram } = nvramOf(domain);
  const hasTpm = devicesOf(domain, 'tpm').some((tpm) => textOf(memberAt(tpm, 'backend', 'type')) === 'emulator');
  return [
    ...(hasNvram ? ["the firmware's variables (NVRAM)"] : []),
    ...(hasTpm && !memory ? ['the state of the TPM'] : []),
  ];
}
