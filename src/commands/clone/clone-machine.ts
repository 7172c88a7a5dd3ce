import { clonedSpec } from './clone-spec.ts';
import { MadeObjects } from './made-objects.ts';
import { snapshotObject, untilReady } from '../snapshot/take-snapshot.ts';
import { virtualDiskKind, virtualMachineKind, virtualMachineSnapshotKind } from '../../api/kinds.ts';
import { apiVersion } from '../../api/meta.ts';
import { assertValid } from '../../api/validate.ts';
import type { VirtualDisk, VirtualDiskSpec } from '../../api/virtual-disk.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { ConflictError, FailedError, NotFoundError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { withKubeClient, type KubeFlags } from '../../cli/kube-options.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { assertObjectName } from '../../cli/object-name.ts';
import { resourceOf } from '../../cli/resources/known-resources.ts';
import { machineDefined, machineStarted } from '../../cli/verb-progress.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import { writeResult } from '../../cli/write-result.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { isRefusal } from '../../kube/status-error.ts';

/** The flags of `virtctl clone vm`. */
export interface CloneFlags extends KubeFlags {
  readonly linked?: boolean;
  readonly start: boolean;
  readonly node?: string;
  readonly wait: boolean;
  readonly timeout: number;
}

/**
 * Makes a machine with disks of its own that begin as those of another one.
 *
 * Where it does not get as far as the machine, also after an interruption, it removes again what it has made.
 *
 *   off:      a copy of each disk
 *   running:  a snapshot ─▶ a copy of each of its disks ─▶ the snapshot is deleted, and merged
 *   linked:   a snapshot ─▶ a thin disk over each of its disks; the snapshot stays as long as they do
 */
export async function cloneMachine(context: Context, from: string, to: string, flags: CloneFlags): Promise<void> {
  const { signal } = context;
  assertObjectName(to);
  await withKubeClient(context, flags, async (client) => {
    const { namespace } = client;
    const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    const disks = client.resource<VirtualDisk>(resourceTypeOf(virtualDiskKind));
    const machine = await machines.get({ namespace, name: from }, { signal });
    if ((await machines.find({ namespace, name: to }, { signal })) !== undefined) {
      throw new ConflictError(`vm/${to} exists already`);
    }
    const names = new Map<string, string>();
    for (const { virtualDisk, readOnly, shareable, name } of machine.spec.volumes ?? []) {
      // What neither changes, and what is meant to be shared, both may have.
      if (virtualDisk === undefined || readOnly === true || shareable === true) continue;
      names.set(virtualDisk, `${to}-${name}`);
    }
    for (const name of names.values()) {
      assertObjectName(name);
      if ((await disks.find({ namespace, name }, { signal })) !== undefined) {
        throw new ConflictError(`vdisk/${name} exists already`);
      }
    }
    const { spec, notes } = clonedSpec(machine.spec, {
      name: to,
      disks: names,
      halted: !flags.start,
      nodeName: flags.node,
    });
    const clone: VirtualMachine = {
      apiVersion,
      kind: 'VirtualMachine',
      metadata: {
        name: to,
        namespace,
        ...(machine.metadata.labels === undefined ? {} : { labels: machine.metadata.labels }),
      },
      spec,
    };
    assertValid(clone);
    const made = new MadeObjects(context, client);
    try {
      if (names.size > 0) await cloneDisks(context, client, machine, names, to, flags, made);
      signal.throwIfAborted();
    } catch (error) {
      // Disks without their machine are of no use, and in the way of the next attempt.
      await made.removeAll();
      throw error;
    }
    let created: VirtualMachine;
    try {
      created = await made.make(resourceOf(virtualMachineKind), clone);
    } catch (error) {
      // A machine that may be there needs them.
      if (isRefusal(error)) await made.removeAll();
      else made.tellKept();
      throw error;
    }
    for (const note of notes) context.stderr.write(`note: ${note}\n`);
    if (flags.wait) await untilThere(context, machines, created, flags.timeout);
    await writeResult(context, `vm/${to} cloned from vm/${from}\n`);
  });
}

async function cloneDisks(
  context: Context,
  client: KubeClient,
  machine: VirtualMachine,
  names: ReadonlyMap<string, string>,
  to: string,
  flags: CloneFlags,
  made: MadeObjects,
): Promise<void> {
  const { signal } = context;
  const { namespace } = client;
  const { name: from = '' } = machine.metadata;
  const disks = client.resource<VirtualDisk>(resourceTypeOf(virtualDiskKind));
  const needsSnapshot = flags.linked === true || machine.status?.domain?.id !== undefined;
  const snapshot = `${from.slice(0, 120)}-for-${to}`.slice(0, 240);
  if (needsSnapshot) {
    const description = `${flags.linked === true ? 'the base' : 'for the copy'} of vm/${to}`;
    const object = snapshotObject(namespace, snapshot, { virtualMachine: from, mode: 'External', description });
    await made.make(resourceOf(virtualMachineSnapshotKind), object);
    await untilReady(context, client, snapshot, flags.timeout);
  }
  for (const [disk, copy] of names) {
    const source = await disks.get({ namespace, name: disk }, { signal });
    const volume = machine.spec.volumes?.find(({ virtualDisk }) => virtualDisk === disk)?.name ?? '';
    const mode = flags.linked === true ? ('Overlay' as const) : ('Copy' as const);
    const object: VirtualDisk = {
      apiVersion,
      kind: 'VirtualDisk',
      metadata: { name: copy, namespace },
      spec: copySpec(
        source,
        needsSnapshot ? { snapshot: { name: snapshot, volume, mode } } : { clone: { name: disk } },
        flags,
      ),
    };
    assertValid(object);
    await made.make(resourceOf(virtualDiskKind), object);
  }
  // Also without --wait: the machine is not made before it can be, and a snapshot that is copied from has to stay.
  for (const copy of names.values()) await untilCopied(context, disks, namespace, copy, flags.timeout);
  if (needsSnapshot && flags.linked !== true) await made.remove(resourceOf(virtualMachineSnapshotKind), snapshot);
}

/** The same kind of disk in the same place. */
function copySpec(disk: VirtualDisk, source: VirtualDiskSpec['source'], flags: CloneFlags): VirtualDiskSpec {
  const { pool, reclaimPolicy, wipe } = disk.spec;
  const { format, nodeName } = disk.status ?? {};
  const kept = flags.linked === true ? 'qcow2' : (disk.spec.format ?? format);
  return {
    ...(pool === undefined ? {} : { pool }),
    ...(kept === undefined ? {} : { format: kept }),
    ...(reclaimPolicy === undefined ? {} : { reclaimPolicy }),
    ...(wipe === undefined ? {} : { wipe }),
    ...(nodeName === undefined || nodeName === '' ? {} : { nodeName }),
    bindingMode: 'Immediate',
    source,
  };
}

async function untilCopied(
  { signal }: Context,
  disks: ResourceClient<VirtualDisk>,
  namespace: string,
  name: string,
  timeoutMs: number,
): Promise<void> {
  const settled = (now: VirtualDisk | undefined): boolean => {
    if (now === undefined) throw new NotFoundError(`vdisk/${name} was deleted meanwhile`);
    if (now.status?.phase === 'Failed') throw new FailedError(`vdisk/${name}: ${now.status.message ?? 'it failed'}`);
    return now.status?.phase === 'Ready';
  };
  const what = `vdisk/${name} to be copied (see 'virtctl describe vdisk ${name}')`;
  await waitForObject(disks, { namespace, name }, settled, { signal, timeoutMs, what });
}

async function untilThere(
  { signal }: Context,
  machines: ResourceClient<VirtualMachine>,
  { metadata, spec }: VirtualMachine,
  timeoutMs: number,
): Promise<void> {
  const { name = '', namespace, uid } = metadata;
  const isToRun = spec.runStrategy !== 'Halted' && spec.runStrategy !== 'Manual';
  const settled = (now: VirtualMachine | undefined): boolean =>
    isToRun ? machineStarted(now, 1) : machineDefined(now, 1);
  const what = `vm/${name} to ${isToRun ? 'run' : 'be defined'} (see 'virtctl why vm/${name}')`;
  await waitForObject(machines, { namespace, name }, settled, { signal, timeoutMs, uid, what });
}
