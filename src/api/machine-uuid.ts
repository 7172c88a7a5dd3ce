import type { VirtualMachine } from './virtual-machine.ts';

/**
 * The UUID of a machine's domain: spec.domain.uuid, else metadata.uid. It names the machine on its node (files, MAC
 * addresses, cloud-init's instance), and stays when its object is lost and made anew, which metadata.uid does not.
 *
 * @returns In lower case with dashes; empty for a machine that is not stored and does not say.
 */
export function machineUuid({ metadata, spec }: Pick<VirtualMachine, 'metadata' | 'spec'>): string {
  const given = spec.domain?.uuid ?? metadata.uid ?? '';
  const digits = given.toLowerCase().replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/.test(digits)) return given;
  return [0, 8, 12, 16, 20].map((start, index) => digits.slice(start, [8, 12, 16, 20, 32][index])).join('-');
}
