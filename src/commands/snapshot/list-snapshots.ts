import { snapshotLines, snapshotTree } from './snapshot-table.ts';
import { snapshotsOf } from './take-snapshot.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { UsageError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { withKubeClient, type KubeFlags } from '../../cli/kube-options.ts';
import { alignColumns } from '../../cli/resources/print-table.ts';
import { parseOutput, writeObjects } from '../../cli/resources/print-objects.ts';
import { writeResult } from '../../cli/write-result.ts';

/** The flags of `virtctl snapshot list`. */
export interface ListFlags extends KubeFlags {
  readonly output?: string;
  readonly headers?: boolean;
}

/** Prints the snapshots of a machine, or of all machines of the namespace. */
export async function listSnapshots(context: Context, machine: string | undefined, flags: ListFlags): Promise<void> {
  const format = parseOutput(flags.output);
  await withKubeClient(context, flags, async (client) => {
    const { items } = await snapshotsOf(client).listAll({ namespace: client.namespace, signal: context.signal });
    const found = ofMachine(items, machine);
    if (format.type !== 'table') {
      await writeResult(
        context,
        await writeObjects(format, found, { single: false, showManagedFields: false, headers: true }),
      );
      return;
    }
    if (found.length === 0) context.stderr.write(`No snapshots${machine === undefined ? '' : ` of vm/${machine}`}.\n`);
    else await writeResult(context, alignColumns(snapshotLines(found, context.now(), flags.headers !== false)).text);
  });
}

/** Prints the snapshots of a machine as the tree that they are. */
export async function treeOfSnapshots(context: Context, machine: string, flags: KubeFlags): Promise<void> {
  if (machine === '') throw new UsageError('expected the name of a machine');
  await withKubeClient(context, flags, async (client) => {
    const { items } = await snapshotsOf(client).listAll({ namespace: client.namespace, signal: context.signal });
    const found = ofMachine(items, machine);
    if (found.length === 0) context.stderr.write(`No snapshots of vm/${machine}.\n`);
    else await writeResult(context, snapshotTree(found, context.now()));
  });
}

function ofMachine(
  snapshots: readonly VirtualMachineSnapshot[],
  machine: string | undefined,
): readonly VirtualMachineSnapshot[] {
  return snapshots.filter(({ spec }) => machine === undefined || spec.virtualMachine === machine);
}
