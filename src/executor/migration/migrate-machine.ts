/**
 * The source's steps of a migration; see migration-notes.ts for the whole. Each may be done again, and each is noted before
 * it begins. What libvirt does goes on without the executor: one that comes back finds the job, or sees how it ended.
 */
import { migrateOptions } from './migrate-options.ts';
import { migrationFinalizer, migrationNotes, type MigrationNotes } from './migration-notes.ts';
import { giveDisksAway, obstaclesOf, unfinishedMove, unnotedDisk, type Departing } from './local-disks.ts';
import { networksOf, planDisks } from './migration-disks.ts';
import { tellMigration } from './tell-migration.ts';
import { isHeldByLibvirt, whereGuestIs } from './where-guest-is.ts';
import { deleteDomain } from '../virtual-machine/delete-domain.ts';
import { devicesOf, readDomain, type DomainView } from '../virtual-machine/domain-view.ts';
import { memberAt, textOf } from '../virtual-machine/same-value.ts';
import {
  OperationFailedError,
  type OperationContext,
  type OperationRun,
  type StepProgress,
} from '../virtual-machine-operation/operation-run.ts';
import { disksOfMachineSpec } from '../../api/empty-disk.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import { copiesPools } from '../../api/virtual-machine-operation.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { FailedError, ForbiddenError } from '../../base/errors.ts';
import { refOf } from '../../kube/object.ts';
import { isInvalidState, isNotFound, LibvirtError } from '../../libvirt/errors.ts';
import type { JobStats } from '../../libvirt/objects/domain-job.ts';
import { addFinalizer, isBeingDeleted } from '../../reconcile/finalizers.ts';

/** The target's executor has this long to answer before it counts as unreachable, in milliseconds. */
const prepareMs = 60_000;
/** A target that has not answered after this long is told in the operation, in milliseconds. */
const slowMs = 5_000;
/** How often a migration is looked at. */
const pollMs = 400;
/** libvirt's own deadlines and the operation's end a migration, not ours. */
const callMs = 7 * 24 * 3_600_000;

/** A machine that leaves this node, and the operation that moves it, also when that is no more. */
export interface Departure extends Departing, Pick<OperationRun, 'view'> {}

/** Whether it can be moved at all, before anything is written. */
export async function checkMigration(run: OperationRun): Promise<void> {
  const { nodeName } = run.context;
  if (!isOn(run) && run.view?.state !== 'off') {
    throw new OperationFailedError('NotRunning', 'only a machine that runs, is paused or is off can be moved');
  }
  if (run.operation.spec.migrate?.nodeName === nodeName) {
    throw new OperationFailedError('Unsupported', `it is on ${nodeName} already`);
  }
  await planned(run);
}

/** Does the step that the operation is at. */
export async function stepMigration(run: OperationRun): Promise<StepProgress> {
  switch (run.step) {
    case 'Preparing':
      return prepare(run);
    case 'Migrating':
      return move(run);
    default:
      return settle(run);
  }
}

/** Says what the guest has, and waits for the target to say that it is ready for it. */
async function prepare(run: OperationRun): Promise<StepProgress> {
  const { context } = run;
  run.operation = await addFinalizer(context.operations, run.operation, migrationFinalizer, context.signal);
  let notes = migrationNotes(run.operation);
  const isOff = run.view?.state === 'off';
  if (notes.disks !== undefined && notes.isOff !== isOff) {
    throw new OperationFailedError(
      'NotRunning',
      notes.isOff ? 'it was started meanwhile' : 'it ended before it was moved',
    );
  }
  if (notes.disks === undefined) {
    const { disks = [], networks } = await planned(run);
    const unfinished = await unfinishedMove(run, disks);
    if (unfinished !== undefined) return waitFor(run, unfinished);
    await run.write({
      context: {
        ...run.notes,
        source: context.nodeName,
        disks: JSON.stringify(disks),
        networks: JSON.stringify(networks),
        ...(isOff ? { off: 'yes' } : {}),
      },
    });
    notes = migrationNotes(run.operation);
  }
  const over = endOf(run);
  if (over !== undefined) throw over;
  if (notes.refusal !== undefined) {
    const who = notes.target === undefined ? '' : `${notes.target}: `;
    throw new OperationFailedError('TargetRefused', `${who}${notes.refusal}`);
  }
  const waitedMs = context.now() - Date.parse(run.operation.status?.stepTime ?? '');
  if (notes.target === undefined || notes.destination === undefined) {
    if (waitedMs <= prepareMs) return pollMs;
    const message =
      notes.target === undefined
        ? `no scheduler has found a node for it in ${prepareMs / 1000} s`
        : `the executor of ${notes.target} did not answer in ${prepareMs / 1000} s`;
    throw new OperationFailedError('TargetUnreachable', message);
  }
  if (!context.migrations.hasRoom) return 1_000;
  const unnoted = await unnotedDisk(run, notes.disks ?? [], notes.target);
  if (unnoted !== undefined) {
    const message = `the executor of ${notes.target} has made no volume for VirtualDisk "${unnoted}"; it may be of an older version`;
    throw new OperationFailedError('TargetRefused', message);
  }
  return run.goTo('Migrating');
}

/** What an earlier migration left goes as soon as its nodes look; they have as long as a target has to answer. */
function waitFor(run: OperationRun, message: string): number {
  const over = endOf(run);
  if (over !== undefined) throw over;
  const waitedMs = run.context.now() - Date.parse(run.operation.status?.stepTime ?? '');
  if (waitedMs > prepareMs) throw new OperationFailedError('StorageNotShared', message);
  return pollMs;
}

/** Has libvirt move the guest, and looks how far it is. */
async function move(run: OperationRun): Promise<StepProgress> {
  const { migrations } = run.context;
  const uuid = run.view?.domain.uuid ?? '';
  const call = migrations.get(keyOf(run));
  if (call === undefined) {
    const { view } = run;
    const { isOff, hasBegun } = migrationNotes(run.operation);
    if (view === undefined || (view.state === 'off' && (!isOff || hasBegun))) return ask(run);
    const job = await outgoingJob(view);
    if (job === undefined) {
      if (isHeldByLibvirt(view)) return ask(run);
      // One that was begun, and of which nothing is to be seen: it failed while nobody looked.
      if (hasBegun) {
        return ask(run, 'libvirt gave it up while the executor was away');
      }
      const over = endOf(run);
      if (over !== undefined) throw over;
      // Before libvirt is asked: it holds the machine also when the operation is removed by force.
      await tellMigration(run.context.status, run.operation);
      await run.write({ context: { ...run.notes, begun: uuid } });
      begin(run, view);
      return 100;
    }
    await abortIfAsked(run, view);
    await tellProgress(run, job);
    return pollMs;
  }
  if (call.outcome === 'running') {
    const { view } = run;
    const job = view === undefined ? undefined : await outgoingJob(view);
    if (view !== undefined && job !== undefined) {
      await abortIfAsked(run, view);
      await tellProgress(run, job);
      const isDue = Number(job.raw['memory_iteration'] ?? 0) >= 2;
      if (run.operation.spec.migrate?.postCopy === true && isDue && !call.isPostCopy) {
        call.isPostCopy = true;
        await ifJob(() => view.domain.job.startPostCopy(run.context.options));
      }
    }
    return pollMs;
  }
  const { outcome } = call;
  // The connection was lost, and libvirt goes on without it: the job is followed from here on.
  if (outcome !== 'done' && run.view !== undefined && (await outgoingJob(run.view)) !== undefined) {
    migrations.forget(keyOf(run));
    return pollMs;
  }
  const progress = await ask(run, outcome === 'done' ? undefined : outcome.message, outcome === 'done');
  migrations.forget(keyOf(run));
  return progress;
}

/** Finds out where the guest is, and makes that so for good. */
async function settle(run: OperationRun): Promise<StepProgress> {
  const { context } = run;
  // Whatever the target said while libvirt was at it still: it is asked again after.
  if (!(await isStill(run))) return run.goTo('Migrating');
  const { view } = run;
  const notes = migrationNotes(run.operation);
  const target = notes.target ?? '';
  const { answer } = notes;
  const outcome = `it ${answer === 'running' ? 'runs' : 'is'} on ${target}`;
  if (context.nodeName === target) return run.done(outcome);
  const isCopied = notes.disks?.some(({ copy }) => copy) === true;
  switch (whereGuestIs({ ...notes, view, isCopied })) {
    case 'ask':
      return waitForAnswer(run, target);
    case 'resumes':
      if (view !== undefined) await orAgain(() => view.domain.resume(context.options));
      return keep(run, notes);
    case 'stays':
      return keep(run, notes);
    case 'ended':
      if (view !== undefined && view.state !== 'off') await orAgain(() => view.domain.destroy(context.options));
      throw failureOf(run, notes, 'the guest ended while it was moved');
    case 'moved':
      await leave(run);
  }
  await giveDisksAway(run, notes.disks ?? [], target);
  if (!(await handOver(run, target))) return pollMs;
  return run.done(outcome);
}

/** What is here is paused for good, or only a definition: the guest itself is on the target. */
export async function leave({ view, context }: Departure): Promise<void> {
  if (view === undefined) return;
  if (view.state !== 'off') await orAgain(() => view.domain.destroy(context.options));
  await orAgain(() => deleteDomain(view.domain, context.options));
}

/**
 * Looks at the domain once more when libvirt does not move it (any more): what was read before may be of a moment at which it
 * executed here still.
 *
 * @returns false while libvirt moves it.
 */
async function isStill(run: OperationRun): Promise<boolean> {
  const { view, context } = run;
  if (view === undefined || view.state === 'off') return true;
  if ((await outgoingJob(view)) !== undefined) return false;
  try {
    run.view = await readDomain(view.domain, context.options);
  } catch (error) {
    // An error of libvirt's would end the operation, and the machine would be started here whatever the target has.
    if (error instanceof LibvirtError) throw new FailedError('cannot look at the migration', { cause: error });
    throw error;
  }
  return true;
}

/** Says in the operation what it waits for, when that takes longer than usual. */
async function waitForAnswer(run: OperationRun, target: string): Promise<number> {
  const { stepTime = '', message: told } = run.operation.status ?? {};
  const message = `waits for the executor and libvirtd of ${target}, which alone know whether the guest is there`;
  if (run.context.now() - Date.parse(stepTime) > slowMs && told !== message) await run.write({ message });
  return 1_000;
}

/** The guest stays here; a copy on the target is nobody's. */
async function keep(run: OperationRun, notes: MigrationNotes): Promise<never> {
  await run.write({ context: { ...run.notes, holder: 'source' } });
  throw failureOf(run, notes, 'libvirt did not move it');
}

/**
 * Gives the machine to the target. Each of the two writes may be repeated.
 *
 * @returns Whether it is the target's; else the controller makes it so (src/controller/node-switch.ts).
 */
export async function handOver(run: Departure, target: string): Promise<boolean> {
  const { machines, status, nodeName, signal, now } = run.context;
  const { machine } = status;
  const { uid } = machine.metadata;
  const migration = {
    phase: 'Succeeded',
    operation: run.operation.metadata.name,
    sourceNode: nodeName,
    targetNode: target,
    completionTime: toKubernetesTime(now()),
    percent: 100,
    message: null,
    ...{ asked: null, answer: null },
  };
  // First what is, then what is wanted: validation takes it as the proof that the domain has left this node.
  await machines.mergePatch(
    refOf(machine),
    { metadata: { uid }, status: { nodeName: target, migration } },
    { subresource: 'status', signal },
  );
  return switchNode(run.context, target);
}

/** Says in a machine's spec that it is the target's, after its status has said so; see {@link handOver}. */
export async function switchNode({ machines, status, signal }: OperationContext, target: string): Promise<boolean> {
  const { machine } = status;
  const { uid } = machine.metadata;
  try {
    await machines.mergePatch(refOf(machine), { metadata: { uid }, spec: { nodeName: target } }, { signal });
    return true;
  } catch (error) {
    if (error instanceof ForbiddenError) return false;
    throw error;
  }
}

function begin(run: OperationRun, view: DomainView): void {
  const notes = migrationNotes(run.operation);
  const { destination = '', isOff } = notes;
  const { migrate } = run.operation.spec;
  const { job } = view.domain;
  run.context.migrations.start(keyOf(run), async () => {
    const downtime = migrate?.maxDowntimeMilliseconds;
    if (downtime !== undefined && !isOff) await job.setMaxDowntime(downtime);
    await job.migrateToUri(destination, { ...migrateOptions(notes, migrate), timeoutMs: callMs });
  });
}

/** Goes on to ask the target where the guest is. */
function ask(run: OperationRun, failure?: string, hasMoved = false): Promise<'next'> {
  const text = failure === undefined ? {} : { failure: failure.slice(0, 1024) };
  return run.goTo('Switching', {
    ...run.notes,
    ...text,
    ...(hasMoved ? { moved: 'yes' } : {}),
    asked: run.context.newId(),
  });
}

/** What is to be known of the guest's disks and networks. @throws OperationFailedError when it cannot be moved. */
async function planned(run: OperationRun): Promise<Pick<MigrationNotes, 'disks' | 'networks'>> {
  const { context, view } = run;
  const { machine } = context.status;
  const isOff = view?.state === 'off';
  const live = isOff ? view.inactive : view?.live;
  if (view === undefined || live === undefined) return { disks: [], networks: [] };
  if (isOff) requireNothingBeside(view);
  const { namespace } = machine.metadata;
  const sharedDisks = new Set<string>();
  const localDisks: VirtualDisk[] = [];
  for (const name of disksOfMachineSpec(machine)) {
    const disk = await context.disks.find({ namespace, name }, { signal: context.signal });
    if (disk?.status?.path === undefined) continue;
    if ((disk.status.nodeName ?? '') === '') sharedDisks.add(name);
    else localDisks.push(disk);
  }
  const { copyStorage = 'Auto' } = run.operation.spec.migrate ?? {};
  const paths = new Set(devicesOf(live, 'disk').map((disk) => textOf(memberAt(disk, 'source', 'file'))));
  const plan = planDisks({
    machine,
    live,
    volumes: new Map((machine.status?.volumes ?? []).map(({ target, name }) => [target ?? '', name])),
    sharedDisks,
    obstacles: copiesPools(copyStorage) ? await obstaclesOf(run, localDisks, { paths, copyStorage }) : new Map(),
    copyStorage,
  });
  if ('refusal' in plan) throw new OperationFailedError('StorageNotShared', plan.refusal);
  const copied = isOff ? plan.disks.find(({ copy }) => copy) : undefined;
  if (copied !== undefined) {
    const message = `disk ${copied.target} (${copied.path}): it is copied only while the machine runs`;
    throw new OperationFailedError('StorageNotShared', message);
  }
  const disks = await Promise.all(
    plan.disks.map(async (disk) =>
      disk.copy
        ? { ...disk, bytes: (await view.domain.blocks.info(disk.target, context.options)).capacityBytes }
        : disk,
    ),
  );
  return { disks, networks: networksOf(live) };
}

function isOn({ state }: OperationRun): boolean {
  return state === 'running' || state === 'paused';
}

/** What a machine that is off has beside its definition and disks stays on its node: libvirt does not move it. */
function requireNothingBeside({ hasManagedSave, inactive }: DomainView): void {
  const refuse = (what: string): never => {
    throw new OperationFailedError(
      'StorageNotShared',
      `${what} in a file of this node; start it, and it moves as it runs`,
    );
  };
  if (hasManagedSave) refuse('its memory is saved');
  if (memberAt(inactive, 'os', 'nvram') !== undefined) refuse("its firmware's NVRAM is");
  const tpms = devicesOf(inactive, 'tpm');
  if (tpms.some((tpm) => textOf(memberAt(tpm, 'backend', 'type')) === 'emulator')) refuse('the state of its TPM is');
}

/** Why it is to end although it did not fail; undefined as long as it may go on. */
function endOf(run: OperationRun): OperationFailedError | undefined {
  const { operation, context } = run;
  const { activeDeadlineSeconds, migrate } = operation.spec;
  if (isBeingDeleted(operation) || isBeingDeleted(context.status.machine)) {
    return new OperationFailedError('Aborted', 'it was called off; the machine stays where it was');
  }
  const limits = [activeDeadlineSeconds, migrate?.timeoutSeconds].filter((limit) => limit !== undefined);
  const seconds = Math.min(...limits);
  const ranMs = context.now() - Date.parse(operation.status?.startTime ?? '');
  if (ranMs <= seconds * 1000) return undefined;
  return Number.isFinite(seconds)
    ? new OperationFailedError('DeadlineExceeded', `not done after ${seconds} s; the machine stays where it was`)
    : undefined;
}

async function abortIfAsked(run: OperationRun, view: DomainView): Promise<void> {
  if (endOf(run) !== undefined) await ifJob(() => view.domain.job.abort(run.context.options));
}

function failureOf(run: OperationRun, { failure }: MigrationNotes, otherwise: string): OperationFailedError {
  return endOf(run) ?? new OperationFailedError('MigrationFailed', failure ?? otherwise);
}

/** The job that moves a domain away; undefined when there is none. */
export async function outgoingJob({ domain }: DomainView): Promise<JobStats | undefined> {
  const stats = await ifJob(() => domain.job.stats());
  const goesOn = stats?.type === 'bounded' || stats?.type === 'unbounded';
  return goesOn && stats.operation === 'migration-out' ? stats : undefined;
}

async function tellProgress(run: OperationRun, { totalBytes = 0, remainingBytes = 0 }: JobStats): Promise<void> {
  if (totalBytes === 0) return;
  const percent = Math.max(0, Math.min(99, Math.floor((100 * (totalBytes - remainingBytes)) / totalBytes)));
  if (percent !== run.operation.status?.percent) await run.write({ percent });
}

/** Something that needs a job; that there is none (any more) is no mistake. */
export async function ifJob<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    if (isInvalidState(error) || isNotFound(error)) return undefined;
    throw new FailedError('cannot look at the migration', { cause: error });
  }
}

/** What libvirt refuses here does not end the operation: it is tried again. */
export async function orAgain(act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (error instanceof LibvirtError && !isNotFound(error)) {
      throw new FailedError('cannot put right what a migration left', { cause: error });
    }
    if (!isNotFound(error)) throw error;
  }
}

function keyOf({ operation }: OperationRun): string {
  return operation.metadata.uid ?? '';
}
