/**
 * A migration whose operation somebody removed by force, its finalizer stripped, while libvirt moved the guest. The guest may
 * be at the source, at the target, or on its way, and nothing but the machine's own `status.migration` (phase Running) says
 * so. It holds the machine until both sides were looked at:
 *
 *   source: calls off what libvirt still does ─▶ status.migration.asked ─▶ decides as ever (where-guest-is.ts)
 *   target:                                       └──▶ looks ─▶ status.migration.answer ──┘
 *
 * Called by follow-migration.ts at the source, and by the machine's reconcile at the target.
 */
import { arrivalOf } from './arrival.ts';
import { giveDisksAway } from './local-disks.ts';
import { handOver, leave, orAgain, outgoingJob, ifJob, type Departure } from './migrate-machine.ts';
import { answerIn, answerTo, isAskedOf, type Migration, type MovedDisk } from './migration-notes.ts';
import { whereGuestIs } from './where-guest-is.ts';
import { findDomain, readDomain } from '../virtual-machine/domain-view.ts';
import { isForeign } from '../virtual-machine/foreign-domain.ts';
import { operationContext } from '../virtual-machine/operate.ts';
import {
  lookAgain,
  readAgain,
  tellEvent,
  type MachineReconcilerOptions,
  type Round,
} from '../virtual-machine/round.ts';
import { disksOfMachineSpec } from '../../api/empty-disk.ts';
import { machineUuid } from '../../api/machine-uuid.ts';
import { domainName, type VirtualMachine } from '../../api/virtual-machine.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { refOf } from '../../kube/object.ts';
import type { ReconcileResult } from '../../reconcile/controller.ts';

/** How often each side looks, in milliseconds. */
const pollMs = 1_000;
const callMs = 30_000;

/**
 * Finds out where the guest is, at the node that the machine is still on.
 *
 * @returns Whether this was all that may be done to the machine now.
 */
export async function settleLost(round: Round, migration: Migration & { targetNode: string }): Promise<boolean> {
  const { memory, options } = round;
  const { targetNode, operation: name = '', operationUid: uid } = migration;
  if (isForeign(round.status.machine, round.view)) round.view = undefined;
  // It was called off with its operation; nobody else would stop it.
  const { view } = round;
  if (view !== undefined && view.state !== 'off' && (await outgoingJob(view)) !== undefined) {
    await ifJob(() => view.domain.job.abort(options));
    const { asked: _asked, answer: _answer, ...rest } = migration;
    return hold(round, rest);
  }
  const call = memory.migrations.get(uid ?? '');
  if (call?.outcome === 'running') return hold(round, migration);
  // What was read before may be of a moment at which it executed here still.
  await readAgain(round);
  const operation = { metadata: { name, uid } };
  const departure: Departure = { operation, view: round.view, context: operationContext(round) };
  const disks = await copiedTo(round, migration);
  const place = whereGuestIs({
    view: round.view,
    answer: answerIn(migration),
    isOff: false,
    hasMoved: call?.outcome === 'done',
    isCopied: disks.length > 0,
  });
  if (place === 'ask') {
    return hold(round, migration.asked === undefined ? { ...migration, asked: round.parts.newId() } : migration);
  }
  if (place === 'moved') {
    await leave(departure);
    await giveDisksAway(departure, disks, targetNode);
    await handOver(departure, targetNode);
    tellEvent(round, 'Normal', 'MigrationSettled', 'Migrate', `its operation was removed; it is on ${targetNode}`);
    lookAgain(round, pollMs);
    return true;
  }
  const here = round.view;
  if (here !== undefined && place === 'resumes') await orAgain(() => here.domain.resume(options));
  if (here !== undefined && place === 'ended' && here.state !== 'off')
    await orAgain(() => here.domain.destroy(options));
  memory.migrations.forget(uid ?? '');
  const message = `the operation ${name} was removed by force; the machine stays on ${round.parts.nodeName}`;
  const { asked: _asked, answer: _answer, ...rest } = migration;
  round.status.next.migration = {
    ...{ ...rest, phase: 'Failed', message },
    completionTime: toKubernetesTime(round.parts.clock.now()),
  };
  await round.status.write();
  tellEvent(round, 'Warning', 'MigrationSettled', 'Migrate', message);
  lookAgain(round, 20);
  return true;
}

/** Does nothing to the machine, and says why. */
async function hold(round: Round, migration: Migration): Promise<true> {
  const { status } = round;
  const { operation = '', targetNode = '' } = migration;
  status.next.migration = migration;
  status.next.printableStatus = 'Migrating';
  status.condition(
    'Ready',
    'Unknown',
    'MigrationUnclear',
    `the operation ${operation} was removed by force while it moved the machine to ${targetNode}; nothing is started ` +
      `before the executor of ${targetNode} has said whether the guest is there`,
  );
  await status.write();
  lookAgain(round, pollMs);
  return true;
}

/** The disks that were copied for the migration, whose operation named them. */
async function copiedTo({ parts, status, signal }: Round, migration: Migration): Promise<MovedDisk[]> {
  const { namespace } = status.machine.metadata;
  const found: MovedDisk[] = [];
  for (const name of disksOfMachineSpec(status.machine)) {
    const disk = await parts.disks.find({ namespace, name }, { signal });
    const { move, path = '', format = '' } = disk?.status ?? {};
    if (move === undefined || move.operationUid !== migration.operationUid) continue;
    found.push({ target: '', path, format, copy: true, isMade: false, disk: name });
  }
  return found;
}

/** Answers, at the target, whether the guest of a machine is here that the source asks for. */
export async function answerLost(
  machine: VirtualMachine,
  parts: Pick<MachineReconcilerOptions, 'nodeName' | 'machines' | 'libvirt'>,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  const { migration } = machine.status ?? {};
  const libvirt = parts.libvirt();
  if (libvirt === undefined || migration === undefined || !isAskedOf(migration, parts.nodeName)) return undefined;
  const options = { signal, timeoutMs: callMs };
  const domain = await findDomain(libvirt, domainName(machine), machineUuid(machine), options);
  const view = domain === undefined ? undefined : await readDomain(domain, options);
  const arrival = await arrivalOf(machine, view, options);
  if (arrival === undefined) return { requeueAfterMs: pollMs };
  const { uid } = machine.metadata;
  const patch = { metadata: { uid }, status: { migration: answerTo(migration.asked ?? '', arrival) } };
  await parts.machines.mergePatch(refOf(machine), patch, { subresource: 'status', signal });
  return undefined;
}
