/** What must hold of machines and nodes, whoever placed them: used by tests that look at a real API server or at a model. */
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import { parseQuantity } from '../../src/api/quantity.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { machineRequests } from '../../src/scheduler/machine-requests.ts';

const memoryOf = (node: Hypervisor): number => parseQuantity(node.status?.allocatable?.['memory'] ?? '0') ?? 0;
const wanted = ({ spec }: VirtualMachine): number => machineRequests(spec)['memory'] ?? 0;
const nodeOf = ({ spec }: VirtualMachine): string => spec.nodeName ?? '';

/** Nodes whose machines have more memory than there is, with the numbers. */
export function overcommitted(machines: Iterable<VirtualMachine>, nodes: Iterable<Hypervisor>): string[] {
  const used = new Map<string, number>();
  for (const machine of machines) used.set(nodeOf(machine), (used.get(nodeOf(machine)) ?? 0) + wanted(machine));
  return [...nodes].flatMap((node) => {
    const bytes = used.get(node.metadata.name ?? '') ?? 0;
    return bytes > memoryOf(node) ? [`${node.metadata.name ?? ''}: ${bytes} of ${memoryOf(node)}`] : [];
  });
}

/** Machines without a node for which there is room on one that is ready and not cordoned. */
export function forgotten(machines: Iterable<VirtualMachine>, nodes: Iterable<Hypervisor>): string[] {
  const all = [...machines];
  const free = [...nodes]
    .filter(({ spec, status }) => spec.unschedulable !== true && status?.conditions?.[0]?.status === 'True')
    .map((node) => {
      const own = all.filter((machine) => nodeOf(machine) === node.metadata.name);
      return memoryOf(node) - own.reduce((sum, machine) => sum + wanted(machine), 0);
    });
  return all
    .filter((machine) => nodeOf(machine) === '' && machine.metadata.deletionTimestamp === undefined)
    .filter((machine) => free.some((bytes) => bytes >= wanted(machine)))
    .map(({ metadata }) => metadata.name ?? '');
}
