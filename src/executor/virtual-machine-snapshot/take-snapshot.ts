/**
 * Taking a snapshot:
 *
 *   choose ─▶ note Taking, with the name at libvirt and all files ─▶ libvirt makes it ─▶ VirtualDisks ─▶ note Ready
 *
 * After a crash anywhere in between: libvirt knows a snapshot of that name: it was made. It does not, but the domain has the
 * new files: it was made, and libvirtd died before it wrote that down, so it is told. Neither: it was not made; what was
 * begun is removed, and it is made now. The name was free when the step was noted, so whatever has it is ours.
 */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { chooseMode, type SnapshotDisk } from './choose-mode.ts';
import { hasJob, letGoOn } from './domain-job.ts';
import { findMade, isTaken } from './find-made.ts';
import { finishSnapshot, quiescedNote } from './finish-snapshot.ts';
import { fileExists } from './image-files.ts';
import type { WorkState } from './long-work.ts';
import { disksOfDomain, disksOfMachine } from './machine-disks.ts';
import { notKept, nvramOf } from './not-kept.ts';
import { checkQuiesce, isAgentTrouble, thaw } from './quiesce.ts';
import { machineKeyOf, reportSnapshot, type SnapshotContext, type SnapshotDiskStatus } from './snapshot-context.ts';
import { fileKey, overlayPath, removeBegun } from './snapshot-files.ts';
import { snapshotXml, wishesOf } from './snapshot-xml.ts';
import { StorageProblem, isOutOfSpace } from '../virtual-pool/storage-context.ts';
import { devicesOf, type DomainView } from '../virtual-machine/domain-view.ts';
import { isAgentConnected } from '../virtual-machine/power.ts';
import { diskOfVolume } from '../../api/empty-disk.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';

/** What a snapshot is taken of. */
export interface TakeInput {
  readonly libvirt: Libvirt;
  readonly machine: VirtualMachine;
  readonly view: DomainView | undefined;
  /** The other snapshots of the machine. */
  readonly others: readonly VirtualMachineSnapshot[];
  readonly signal: AbortSignal;
}

/** How it went on: `hold` while libvirt is at it, and nothing else may be done with the machine. */
export interface StepResult {
  readonly hold: boolean;
  readonly requeueAfterMs?: number;
}

/** Writing memory takes as long as it is large, in milliseconds. */
const takeMs = 60 * 60_000;
const pollMs = 500;
const retryMs = 5_000;
const waitMs = 1_000;

/** Does the next steps of a snapshot that is not there yet. */
export async function takeSnapshot(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  input: TakeInput,
): Promise<StepResult> {
  if (snapshot.status?.step !== 'Taking') return begin(context, snapshot, input);
  const { view } = input;
  // Its outcome is kept until status has it: whether it was quiesced, and why it failed, is known to nobody else.
  const work = context.work.look(workName(snapshot));
  if (work.state === 'running') return { hold: true, requeueAfterMs: pollMs };
  const result = await judge(context, snapshot, input, view, work);
  if (result !== 'begin') return result;
  context.work.forget(workName(snapshot));
  if (view === undefined) return { hold: false };
  // What was chosen was for the machine as it was: one that went off or was paused meanwhile is looked at anew.
  return stateWord(view) === snapshot.status.domainState
    ? start(context, snapshot, input, view)
    : begin(context, snapshot, input);
}

/** The state of a domain in libvirt's word for a snapshot. */
function stateWord({ state }: DomainView): string {
  return state === 'off' ? 'shutoff' : state;
}

/** Looks what became of a snapshot that was begun; `begin` when nothing did. */
async function judge(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  input: TakeInput,
  view: DomainView | undefined,
  work: WorkState,
): Promise<StepResult | 'begin'> {
  const { signal } = input;
  if (view === undefined) {
    const problem = new StorageProblem('MachineNotReady', 'its domain is gone', { isFinal: true });
    return fail(context, snapshot, problem, signal);
  }
  if (await hasJob(view.domain, signal)) return { hold: true, requeueAfterMs: pollMs };
  if (await letGoOn(snapshot, view, signal)) return { hold: true, requeueAfterMs: 0 };
  // Whatever libvirt said, it is looked whether it happened: an answer may be lost on the way.
  const made = await findMade(snapshot, view, signal);
  if (made !== undefined) {
    const quiesced = work.state === 'done' ? work.note === quiescedNote : undefined;
    await finishSnapshot(context, snapshot, made, quiesced, input);
    context.work.forget(workName(snapshot));
    return { hold: false, requeueAfterMs: 0 };
  }
  await thaw(snapshot, view, signal);
  await removeBegun(snapshot, signal);
  if (work.state !== 'failed' || isBusyWords(work.error)) return 'begin';
  const result = await fail(context, snapshot, takeProblem(work.error), signal);
  context.work.forget(workName(snapshot));
  return result;
}

/** Chooses, notes what will be done, and has libvirt begin. */
async function begin(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  input: TakeInput,
): Promise<StepResult> {
  const { view, machine, signal } = input;
  const { spec } = snapshot;
  try {
    if (view === undefined) throw new StorageProblem('MachineNotReady', 'the machine has no domain yet');
    if (machine.status?.power?.bootStep !== undefined || view.state === 'stopping') {
      throw new StorageProblem('MachineNotReady', 'the machine is being started or stopped');
    }
    if (view.state === 'crashed') throw new StorageProblem('MachineNotReady', 'the guest has crashed');
    if (view.hasManagedSave) {
      throw new StorageProblem('MachineNotReady', 'the machine is saved: its disks fit its memory only');
    }
    const name = spec.domainsnapshot?.name ?? snapshot.metadata.name ?? '';
    if (await isTaken(view.domain, name, signal)) {
      const message = `libvirt has a snapshot "${name}" of the machine already, which this object did not make`;
      throw new StorageProblem('NotSupported', message, { isFinal: true });
    }
    const isRunning = view.live !== undefined;
    const virtualDisks = await disksOfMachine(context, machine, signal);
    const domain = view.live ?? view.inactive;
    for (const [disk, { status }] of virtualDisks) {
      const isThere = devicesOf(domain, 'disk').length > 0 && status?.phase === 'Ready';
      if (!isThere)
        throw new StorageProblem('MachineNotReady', `VirtualDisk "${disk}" is ${status?.phase ?? 'Pending'}`);
    }
    const wishes = wishesOf(spec);
    const disksNow = disksOfDomain(domain, machine, virtualDisks);
    if (!isRunning) waitForDefinition(machine, disksNow, virtualDisks);
    const chosen = chooseMode({
      ...wishes,
      disks: disksNow,
      isRunning,
      ...nvramOf(domain),
      existing: sortOf(input.others),
    });
    checkQuiesce(snapshot, chosen, view);
    const key = fileKey(snapshot);
    const disks = chosen.disks.map(
      ({ target, name: volume, mode, path, format, virtualDisk, file }): SnapshotDiskStatus => ({
        target,
        ...(volume === undefined ? {} : { name: volume }),
        mode,
        ...(mode === 'None' ? {} : { path, format }),
        ...(virtualDisk === undefined ? {} : { virtualDisk }),
        ...(mode === 'External' ? { overlay: file ?? overlayPath(path, key) } : {}),
      }),
    );
    const memoryFile =
      chosen.memory && chosen.mode === 'External'
        ? (wishes.memoryFile ?? join(context.folder, `${key}.mem`))
        : undefined;
    for (const path of [...disks.map(({ overlay }) => overlay), memoryFile]) {
      if (path !== undefined && (await fileExists(path))) {
        throw new StorageProblem('NotSupported', `there is a file ${path} already`, { isFinal: true });
      }
    }
    const left = notKept(domain, chosen.memory);
    const noted = await reportSnapshot(
      context,
      snapshot,
      {
        status: {
          phase: 'InProgress',
          step: 'Taking',
          nodeName: context.nodeName,
          virtualMachineUID: machine.metadata.uid,
          virtualMachineGeneration: machine.metadata.generation,
          name,
          mode: chosen.mode,
          memory: chosen.memory,
          memoryFile,
          domainState: stateWord(view),
          disks,
          notKept: left.length === 0 ? undefined : left,
        },
        ready: { status: false, reason: 'Taking' },
      },
      signal,
    );
    return await start(context, noted, input, view);
  } catch (error) {
    if (error instanceof StorageProblem) return fail(context, snapshot, error, signal);
    throw error;
  }
}

/**
 * A disk that has just been merged has another file than the definition, which follows after the snapshots.
 *
 * @throws StorageProblem MachineNotReady.
 */
function waitForDefinition(
  machine: VirtualMachine,
  disks: readonly SnapshotDisk[],
  virtualDisks: ReadonlyMap<string, VirtualDisk>,
): void {
  for (const { name, path, virtualDisk } of disks) {
    // A volume of a pool over the network never has other files.
    if (path === '') continue;
    const volume = machine.spec.volumes?.find((one) => one.name === name);
    const own = volume === undefined ? undefined : diskOfVolume(machine, volume);
    if (virtualDisk !== undefined || own === undefined || !virtualDisks.has(own)) continue;
    throw new StorageProblem('MachineNotReady', `the domain has not been given the file of VirtualDisk "${own}" yet`);
  }
}

/** libvirt makes it; the next reconciles look how far it is. */
async function start(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  { libvirt }: TakeInput,
  view: DomainView,
): Promise<StepResult> {
  const { memoryFile, mode, memory } = snapshot.status ?? {};
  if (memoryFile !== undefined) await mkdir(dirname(memoryFile), { recursive: true, mode: 0o711 });
  const xml = snapshotXml(snapshot);
  const isDiskOnly = mode === 'External' && memory !== true;
  const quiesce =
    isDiskOnly && snapshot.spec.quiesce !== 'Never' && view.state === 'running' && isAgentConnected(view.live);
  const isLive = mode === 'External' && memory === true && view.state === 'running';
  const domainRef = view.domain;
  context.work.begin(
    workName(snapshot),
    async (_onPercent, signal) => {
      // A connection of its own: a daemon takes a few calls of one connection at a time only.
      const own = await libvirt.duplicate(signal);
      try {
        const domain = await own.domains.byUuid(domainRef.uuid, { signal });
        const flags = {
          ...(isDiskOnly ? { diskOnly: true } : {}),
          ...(isLive ? { live: true } : {}),
          atomic: true,
          signal,
          timeoutMs: takeMs,
        };
        try {
          await domain.snapshots.create(xml, { ...flags, ...(quiesce ? { quiesce: true } : {}) });
        } catch (error) {
          const isAgent = quiesce && snapshot.spec.quiesce !== 'Required' && isAgentTrouble(error);
          if (!isAgent) throw error;
          await domain.snapshots.create(xml, flags);
          return undefined;
        }
        return quiesce ? quiescedNote : undefined;
      } finally {
        await own.close();
      }
    },
    () => context.wake(machineKeyOf(snapshot)),
  );
  return { hold: true, requeueAfterMs: pollMs };
}

async function fail(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  problem: StorageProblem,
  signal: AbortSignal,
): Promise<StepResult> {
  const isNew = snapshot.status?.conditions?.find(({ type }) => type === 'Ready')?.message !== problem.message;
  await reportSnapshot(
    context,
    snapshot,
    {
      status: { phase: problem.isFinal ? 'Failed' : 'Pending', step: undefined },
      ready: { status: false, reason: problem.reason, message: problem.message },
    },
    signal,
  );
  if (isNew && (problem.isFinal || problem.reason === 'OutOfSpace')) {
    context.record({
      regarding: snapshot,
      type: 'Warning',
      reason: problem.reason,
      action: 'TakeSnapshot',
      note: problem.message,
    });
  }
  if (problem.isFinal) return { hold: false };
  return { hold: false, requeueAfterMs: problem.reason === 'MachineNotReady' ? waitMs : retryMs };
}

function takeProblem(error: Error): StorageProblem {
  if (isOutOfSpace(error)) {
    return new StorageProblem('OutOfSpace', `there is no space left for it: ${error.message}`, { cause: error });
  }
  const reason = isAgentTrouble(error) ? 'AgentUnavailable' : 'LibvirtError';
  return new StorageProblem(reason, error.message, { cause: error, isFinal: error instanceof LibvirtError });
}

/** The sort of the snapshots that are there. */
function sortOf(others: readonly VirtualMachineSnapshot[]): 'Internal' | 'External' | undefined {
  const known = others.find(
    ({ status }) => status?.mode !== undefined && status.name !== undefined && status.phase !== 'Failed',
  );
  const mode = known?.status?.mode;
  return mode === 'Mixed' ? undefined : mode;
}

function workName(snapshot: VirtualMachineSnapshot): string {
  return `take ${snapshot.metadata.uid ?? ''}`;
}

/** Something else was at the domain: it is tried again. */
function isBusyWords(error: Error): boolean {
  return error instanceof LibvirtError && /cannot acquire state change lock/.test(error.message);
}
