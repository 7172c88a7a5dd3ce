import { virtualMachineKind, virtualMachineSnapshotKind } from '../../api/kinds.ts';
import { apiVersion } from '../../api/meta.ts';
import { assertValid } from '../../api/validate.ts';
import type { VirtualMachineSnapshot, VirtualMachineSnapshotSpec } from '../../api/virtual-machine-snapshot.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { FailedError, NotFoundError, UsageError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { withKubeClient, type KubeFlags } from '../../cli/kube-options.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { assertObjectName } from '../../cli/object-name.ts';
import { parseOutput, writeObjects } from '../../cli/resources/print-objects.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import { writeResult } from '../../cli/write-result.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/** The flags of `virtctl snapshot create`. */
export interface TakeFlags extends KubeFlags {
  readonly memory?: boolean;
  readonly mode?: VirtualMachineSnapshotSpec['mode'];
  readonly quiesce?: VirtualMachineSnapshotSpec['quiesce'];
  readonly description?: string;
  readonly disk?: readonly string[];
  readonly ttl?: number;
  readonly retain?: boolean;
  readonly schedule?: string;
  readonly timeZone?: string;
  readonly keep?: number;
  readonly wait: boolean;
  readonly timeout: number;
  readonly output?: string;
}

/**
 * Takes a snapshot of a machine and waits until it is there; with `--schedule` makes one that takes them by the clock.
 *
 * @param given Its name; the machine's with the time when left out.
 */
export async function takeSnapshot(
  context: Context,
  machine: string,
  given: string | undefined,
  flags: TakeFlags,
): Promise<void> {
  const format = parseOutput(flags.output);
  if (given !== undefined) assertObjectName(given);
  if (flags.schedule === undefined && (flags.keep !== undefined || flags.timeZone !== undefined)) {
    throw new UsageError('--keep and --time-zone go with --schedule');
  }
  const name =
    given ??
    `${machine.slice(0, 200)}-${flags.schedule === undefined ? timeWord(new Date(context.now())) : 'schedule'}`;
  await withKubeClient(context, flags, async (client) => {
    // A snapshot of a machine that does not exist would wait for ever.
    const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    await machines.get({ namespace: client.namespace, name: machine }, { signal: context.signal });
    const made = await createSnapshot(context, client, name, specOf(machine, flags));
    const snapshot =
      flags.wait && flags.schedule === undefined ? await untilReady(context, client, name, flags.timeout) : made;
    if (format.type !== 'table') {
      await writeResult(
        context,
        await writeObjects(format, [snapshot], { single: true, showManagedFields: false, headers: true }),
      );
      return;
    }
    const { mode, memory, quiesced, notKept = [] } = snapshot.status ?? {};
    if (notKept.length > 0) {
      const left = notKept.join(' and ');
      context.stderr.write(`note: ${left} is not kept with it: a revert leaves that as it is then\n`);
    }
    const facts = [
      mode?.toLowerCase(),
      memory === true ? 'with memory' : undefined,
      quiesced === true ? 'quiesced' : undefined,
    ];
    const known = facts.filter((fact) => fact !== undefined).join(', ');
    const what = flags.schedule !== undefined ? 'scheduled' : flags.wait ? 'taken' : 'asked for';
    await writeResult(context, `vmsnap/${name} ${what}${known === '' ? '' : ` (${known})`}\n`);
  });
}

/** Creates a snapshot's object. */
async function createSnapshot(
  context: Context,
  client: KubeClient,
  name: string,
  spec: VirtualMachineSnapshotSpec,
): Promise<VirtualMachineSnapshot> {
  const object = snapshotObject(client.namespace, name, spec);
  return snapshotsOf(client).create(object, { fieldValidation: 'Strict', signal: context.signal });
}

/** A snapshot's object, which is valid. */
export function snapshotObject(
  namespace: string,
  name: string,
  spec: VirtualMachineSnapshotSpec,
): VirtualMachineSnapshot {
  const object: VirtualMachineSnapshot = {
    apiVersion,
    kind: 'VirtualMachineSnapshot',
    metadata: { name, namespace },
    spec,
  };
  assertValid(object);
  return object;
}

/**
 * Waits until a snapshot is there.
 *
 * @throws FailedError when it cannot be taken, in libvirt's words.
 */
export async function untilReady(
  context: Context,
  client: KubeClient,
  name: string,
  timeoutMs: number,
): Promise<VirtualMachineSnapshot> {
  const ref = { namespace: client.namespace, name };
  const settled = (now: VirtualMachineSnapshot | undefined): boolean => {
    if (now === undefined) throw new NotFoundError(`vmsnap/${name} was deleted meanwhile`);
    if (now.status?.phase === 'Failed') throw new FailedError(`vmsnap/${name}: ${now.status.message ?? 'it failed'}`);
    return now.status?.phase === 'Ready';
  };
  const what = `vmsnap/${name} to be taken (see 'virtctl describe vmsnap ${name}')`;
  const ready = await waitForObject(snapshotsOf(client), ref, settled, { signal: context.signal, timeoutMs, what });
  return ready ?? snapshotsOf(client).get(ref, { signal: context.signal });
}

/** The snapshots of the API. */
export function snapshotsOf(client: KubeClient): ResourceClient<VirtualMachineSnapshot> {
  return client.resource<VirtualMachineSnapshot>(resourceTypeOf(virtualMachineSnapshotKind));
}

function specOf(machine: string, flags: TakeFlags): VirtualMachineSnapshotSpec {
  const { mode, quiesce, description, disk, ttl, schedule, timeZone, keep } = flags;
  return {
    virtualMachine: machine,
    ...(mode === undefined ? {} : { mode }),
    ...(flags.memory === true ? { memory: true } : {}),
    ...(quiesce === undefined ? {} : { quiesce }),
    ...(description === undefined ? {} : { description }),
    ...(disk === undefined ? {} : { disks: disk.map((name) => ({ name })) }),
    ...(ttl === undefined ? {} : { ttlSeconds: Math.max(1, Math.round(ttl / 1000)) }),
    ...(flags.retain === true ? { retainPolicy: 'Retain' as const } : {}),
    ...(schedule === undefined
      ? {}
      : {
          schedule: {
            cron: schedule,
            ...(timeZone === undefined ? {} : { timeZone }),
            ...(keep === undefined ? {} : { keep }),
          },
        }),
  };
}

/** The time in a name: 20261121-063000. */
function timeWord(now: Date): string {
  return now.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
}
