import { virtualMachineKind } from '../../api/kinds.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { Context } from '../../cli/context.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';

/** The machines that one command deletes in one namespace, beside the one in question. */
export interface DeletedTogether {
  /** The UIDs of those whose deletion was asked for, also of a dry run. */
  readonly asked: ReadonlySet<string | undefined>;
  /** Those that are still to come, as `vm/web`. */
  readonly toCome: ReadonlySet<string>;
}

/**
 * The VirtualDisks that go with a machine: those of its volumes that no other machine names. Of the others it is said on
 * stderr that they stay, and for whom. One that is on its way out does not count: a disk stays as long as it has users.
 *
 * @param company The machines that are deleted by the same command.
 * @returns Their names, in the machine's namespace; none for what is no machine.
 */
export async function disksOfMachine(
  context: Context,
  client: KubeClient,
  object: KubeObject,
  { asked, toCome }: DeletedTogether,
): Promise<string[]> {
  if (object.kind !== virtualMachineKind.kind) return [];
  const { namespace, uid } = object.metadata;
  const names = disksIn(object as VirtualMachine);
  if (names.length === 0) return [];
  const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
  const { items } = await machines.listAll({ namespace, signal: context.signal });
  const others = items.filter(
    ({ metadata }) => metadata.uid !== uid && metadata.deletionTimestamp === undefined && !asked.has(metadata.uid),
  );
  return names.filter((name) => {
    const users = others
      .filter((one) => disksIn(one).includes(name))
      .map(({ metadata }) => `vm/${metadata.name ?? ''}`);
    // Of those that go as well, the last one takes it along.
    const staying = users.filter((user) => !toCome.has(user));
    if (staying.length > 0) context.stderr.write(`vdisk/${name} stays: ${staying.join(', ')} has it too\n`);
    return users.length === 0;
  });
}

function disksIn(machine: VirtualMachine): string[] {
  const names = (machine.spec.volumes ?? []).flatMap(({ virtualDisk }) =>
    virtualDisk === undefined ? [] : [virtualDisk],
  );
  return [...new Set(names)];
}
