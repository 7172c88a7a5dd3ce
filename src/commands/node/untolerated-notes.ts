import type { Hypervisor } from '../../api/hypervisor.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { isTolerated } from '../../scheduler/label-match.ts';

/**
 * Says of each taint with NoExecute how many of a node's machines do not tolerate it: nothing takes them away, as it would
 * be with pods.
 *
 * @returns Lines, or nothing.
 */
export function untoleratedNotes({ metadata, spec }: Hypervisor, machines: readonly VirtualMachine[]): string {
  const given = (spec as Hypervisor['spec'] | undefined)?.taints ?? [];
  return given
    .filter(({ effect }) => effect === 'NoExecute')
    .map((taint) => {
      const count = machines.filter((one) => !isTolerated(taint, one.spec.tolerations)).length;
      if (count === 0) return '';
      const value = (taint.value ?? '') === '' ? '' : `=${taint.value ?? ''}`;
      const [who, it] = count === 1 ? ['1 machine here does', 'it'] : [`${count} machines here do`, 'them'];
      const what = `${taint.key}${value}:NoExecute`;
      return `Note: ${who} not tolerate ${what}; only 'virtctl node drain ${metadata.name ?? ''}' takes ${it} away.\n`;
    })
    .join('');
}
