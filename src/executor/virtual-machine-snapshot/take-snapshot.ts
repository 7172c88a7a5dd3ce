/**
 * Taking a snapshot:
 *
 *   choose ─▶ note Taking, with the name at libvirt and all files ─▶ libvirt makes it ─▶ VirtualDisks ─▶ note Ready
 *
 * After a crash anywhere in between: libvirt knows a snapshot of that name: it was made. It does not, but the domain has the
 * new files: it was made, and libvirtd died before it wrote that down, so it is told. Neither: it was not made; what was
 * begun is removed, and it is made now. The name was free when the step was noted, so whatever has it is ours.
 */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { WorkState } from './long-work.ts';
import { chooseMode, type ChosenMode, type ModeInput } from './choose-mode.ts';
import { fileExists, isInUse, removeFile } from './image-files.ts';
import { definedPath, disksOfDomain, disksOfMachine, liveChain, setActiveFile } from './machine-disks.ts';
import { machineKeyOf, reportSnapshot, type SnapshotContext, type SnapshotDiskStatus } from './snapshot-context.ts';
import { StorageProblem, isOutOfSpace } from '../virtual-pool/storage-context.ts';
import { devicesOf, type DomainView } from '../virtual-machine/domain-view.ts';
import { isAgentConnected } from '../virtual-machine/power.ts';
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { analyse } from '../../analyser/analyse.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { render } from '../../convertor/render.ts';
import { isAgentUnavailable, isNotFound, LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';
import type { Snapshot } from '../../libvirt/objects/domain-snapshots.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

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
  return view === undefined ? { hold: false } : start(context, snapshot, input, view);
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
  // Whatever libvirt said, it is looked whether it happened: an answer may be lost on the way.
  const made = await findMade(snapshot, input, view);
  if (made !== undefined) {
    const quiesced = work.state === 'done' ? work.note === quiescedNote : undefined;
    await finish(context, snapshot, made, quiesced, input);
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
    const chosen = chooseMode({
      ...wishes,
      disks: disksOfDomain(domain, machine, virtualDisks),
      isRunning,
      hasNvram: memberAt(domain, 'os', 'nvram') !== undefined || memberAt(domain, 'os', 'loader', 'type') === 'pflash',
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
          domainState: view.state === 'off' ? 'shutoff' : view.state,
          disks,
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

/** The note of work that froze the guest's file systems. */
const quiescedNote = 'quiesced';

/** Members of libvirt's snapshot that are read by {@link wishesOf}, or tell of one that was made. */
const readKeys: ReadonlySet<string> = new Set([
  ...['name', 'memory', 'disks', 'state', 'creationTime', 'parent', 'domain', 'inactiveDomain', 'active'],
  ...['revertDisks', 'cookie'],
]);

/** What is wanted, by our own fields or else by libvirt's. */
export function wishesOf(
  spec: VirtualMachineSnapshot['spec'],
): Pick<ModeInput, 'mode' | 'memory' | 'perDisk' | 'othersToo'> & { readonly memoryFile?: string | undefined } {
  const { memory, disks } = spec.domainsnapshot ?? {};
  const listed = (disks?.disk ?? []).map(({ name = '', snapshot, source }) => {
    if (snapshot === 'manual') {
      throw new StorageProblem('NotSupported', `disk ${name}: a manual snapshot is taken by whoever keeps the disk`, {
        isFinal: true,
      });
    }
    const mode = snapshot === undefined ? undefined : snapshotWords[snapshot];
    return { name, mode, file: source?.file };
  });
  const own = spec.disks ?? [];
  const inMemory =
    memory?.snapshot === undefined || memory.snapshot === 'no' ? undefined : snapshotWords[memory.snapshot];
  return {
    mode: spec.mode === undefined || spec.mode === 'Auto' ? (inMemory ?? 'Auto') : spec.mode,
    memory: spec.memory ?? inMemory !== undefined,
    perDisk: own.length > 0 ? own : listed,
    othersToo: own.length === 0,
    memoryFile: memory?.file,
  };
}

const snapshotWords = { no: 'None', internal: 'Internal', external: 'External' } as const;

/** What libvirt is given. */
export function snapshotXml(snapshot: VirtualMachineSnapshot, domain?: DataObject): string {
  const { status, spec } = snapshot;
  const own: Record<string, Data> = {
    name: status?.name ?? '',
    description:
      spec.description ?? `VirtualMachineSnapshot ${snapshot.metadata.namespace ?? ''}/${snapshot.metadata.name ?? ''}`,
    memory:
      status?.memory !== true
        ? { snapshot: 'no' }
        : status.memoryFile === undefined
          ? { snapshot: 'internal' }
          : { snapshot: 'external', file: status.memoryFile },
    disks: {
      disk: (status?.disks ?? []).map((disk): Data => {
        if (disk.mode === 'Internal') return { name: disk.target, snapshot: 'internal' };
        if (disk.mode !== 'External') return { name: disk.target, snapshot: 'no' };
        return {
          name: disk.target,
          snapshot: 'external',
          type: 'file',
          driver: { type: 'qcow2' },
          source: { file: disk.overlay ?? '' },
        };
      }),
    },
    ...(domain === undefined
      ? {}
      : {
          domain,
          state: stateAtLibvirt(status),
          creationTime: String(Math.floor(Date.parse(snapshot.metadata.creationTimestamp ?? '') / 1000) || 0),
        }),
  };
  // libvirt leaves the memory out by itself where there is none to keep.
  if (status?.domainState === 'shutoff') delete own['memory'];
  const given = (spec.domainsnapshot ?? {}) as DataObject;
  // What wishesOf has read is in status, and what libvirt tells of a snapshot that was made is nothing to ask for.
  const rest = Object.entries(given).filter(([key]) => !readKeys.has(key));
  return render(
    'domainsnapshot',
    {
      ...own,
      ...Object.fromEntries(rest),
      ...(spec.description === undefined ? {} : { description: spec.description }),
    },
    spec.overlay as Parameters<typeof render>[2],
    {
      path: 'spec.domainsnapshot',
      overlayPath: 'spec.overlay',
    },
  );
}

/** libvirt's word for what a snapshot has: virDomainSnapshotState. */
function stateAtLibvirt(status: VirtualMachineSnapshot['status']): string {
  if (status?.domainState === 'shutoff') return 'shutoff';
  if (status?.memory !== true) return 'disk-snapshot';
  return status.domainState === 'paused' ? 'paused' : 'running';
}

/** The snapshot at libvirt, if it was made. */
async function findMade(
  snapshot: VirtualMachineSnapshot,
  { signal }: TakeInput,
  view: DomainView,
): Promise<Snapshot | undefined> {
  const { name = '', disks = [] } = snapshot.status ?? {};
  try {
    return await view.domain.snapshots.byName(name, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  const external = disks.filter(({ mode }) => mode === 'External');
  const isSwitched = await Promise.all(
    external.map(async ({ target, overlay = '' }) => {
      if (liveChain(view.live, target)[0] === overlay || definedPath(view.inactive, target) === overlay) return true;
      return view.live !== undefined && (await fileExists(overlay)) && (await isInUse(overlay, 'qcow2', signal));
    }),
  );
  if (external.length === 0 || !isSwitched.some(Boolean)) return undefined;
  // libvirtd died between the guest's going over to the new files and its own notes.
  const { id: _id, ...inactive } = view.inactive;
  const domain = { ...inactive, devices: withFiles(inactive['devices'], external) };
  return view.domain.snapshots.create(snapshotXml(snapshot, domain), { redefine: true, current: true, signal });
}

/** Devices with the files that the disks had before. */
function withFiles(devices: Data | undefined, external: readonly SnapshotDiskStatus[]): Data {
  if (!isObject(devices)) return {};
  const list = devices['disk'];
  const disks = (isList(list) ? list : []).map((disk): Data => {
    const before = external.find(({ target }) => target === textOf(memberAt(disk, 'target', 'dev')));
    if (!isObject(disk) || before?.path === undefined) return disk;
    const { backingStore: _chain, ...rest } = disk;
    return {
      ...rest,
      driver: { ...(isObject(disk['driver']) ? disk['driver'] : {}), type: before.format ?? 'raw' },
      source: { file: before.path },
    };
  });
  return { ...devices, disk: disks };
}

/** The VirtualDisks follow, and then it is ready. */
async function finish(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  made: Snapshot,
  quiesced: boolean | undefined,
  { libvirt, machine, signal, view, others }: TakeInput,
): Promise<void> {
  const xml = analyse(await made.xml({ signal }), { maxBytes: maxReportedBytes }).value as DataObject;
  const virtualDisks = await disksOfMachine(context, machine, signal);
  for (const { mode, virtualDisk = '', overlay = '' } of snapshot.status?.disks ?? []) {
    const disk = virtualDisks.get(virtualDisk);
    if (mode !== 'External' || disk === undefined || disk.status?.path === overlay) continue;
    await setActiveFile(context, libvirt, disk, { path: overlay, format: 'qcow2' }, signal);
  }
  // Who froze it may have died.
  if (quiesced === undefined && view !== undefined) await thaw(snapshot, view, signal);
  const seconds = Number(textOf(xml['creationTime']));
  const before = (await made.parent({ signal }))?.name;
  const parent = others.find(({ status }) => status?.name === before && before !== undefined)?.metadata.name ?? before;
  // Whoever waited for this one finds one current snapshot, not two.
  for (const other of others) {
    if (other.status?.current === true) await reportSnapshot(context, other, { status: { current: false } }, signal);
  }
  await reportSnapshot(
    context,
    snapshot,
    {
      status: {
        phase: 'Ready',
        step: undefined,
        parent,
        current: true,
        quiesced,
        creationTime: toKubernetesTime(Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : context.clock.now()),
      },
      ready: { status: true, reason: 'Taken' },
    },
    signal,
  );
  const { mode, memory } = snapshot.status ?? {};
  const words = [
    mode?.toLowerCase(),
    memory === true ? 'with memory' : 'disks only',
    ...(quiesced === true ? ['quiesced'] : []),
  ];
  context.record({
    regarding: snapshot,
    type: 'Normal',
    reason: 'SnapshotTaken',
    action: 'TakeSnapshot',
    note: `taken of ${snapshot.spec.virtualMachine} (${words.join(', ')})`,
  });
}

/** A guest that was frozen when libvirtd or we died must not stay so. */
async function thaw(snapshot: VirtualMachineSnapshot, view: DomainView, signal: AbortSignal): Promise<void> {
  if (snapshot.spec.quiesce === 'Never' || view.state !== 'running' || !isAgentConnected(view.live)) return;
  if (snapshot.status?.memory === true) return;
  try {
    await view.domain.guest.thaw([], { signal, timeoutMs: 15_000 });
  } catch (error) {
    // It was not frozen, or its agent went away: then nobody froze it either.
    if (!(error instanceof LibvirtError)) throw error;
  }
}

/** Removes what a try left that did not come to its end. */
export async function removeBegun(snapshot: VirtualMachineSnapshot, signal: AbortSignal): Promise<void> {
  const { disks = [], memoryFile } = snapshot.status ?? {};
  for (const { mode, overlay } of disks) {
    if (mode !== 'External' || overlay === undefined || !(await fileExists(overlay))) continue;
    if (await isLocked(overlay, signal)) continue;
    await removeFile(overlay);
  }
  if (memoryFile !== undefined) await removeFile(memoryFile);
}

/** A header that was not written whole is nobody's file. */
async function isLocked(path: string, signal: AbortSignal): Promise<boolean> {
  try {
    return await isInUse(path, 'qcow2', signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return false;
  }
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

function checkQuiesce({ spec }: VirtualMachineSnapshot, chosen: ChosenMode, view: DomainView): void {
  if (spec.quiesce !== 'Required' || view.state === 'off') return;
  if (chosen.mode === 'Internal' || chosen.memory) {
    const message =
      'with memory nothing has to be frozen, and libvirt does not: leave quiesce out, or take the disks only';
    throw new StorageProblem('NotSupported', message, { isFinal: true });
  }
  if (view.state !== 'running' || !isAgentConnected(view.live)) {
    const why = view.state === 'running' ? "the guest's agent does not answer" : 'the guest is paused';
    throw new StorageProblem('AgentUnavailable', `its file systems cannot be frozen: ${why}`, { isFinal: true });
  }
}

/** The sort of the snapshots that are there. */
function sortOf(others: readonly VirtualMachineSnapshot[]): 'Internal' | 'External' | undefined {
  const known = others.find(
    ({ status }) => status?.mode !== undefined && status.name !== undefined && status.phase !== 'Failed',
  );
  const mode = known?.status?.mode;
  return mode === 'Mixed' ? undefined : mode;
}

async function isTaken(domain: Domain, name: string, signal: AbortSignal): Promise<boolean> {
  try {
    await domain.snapshots.byName(name, { signal });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** Whether libvirt is still at something long with a domain. */
export async function hasJob(domain: Domain, signal: AbortSignal): Promise<boolean> {
  try {
    const { type } = await domain.job.stats({ signal });
    return type === 'bounded' || type === 'unbounded';
  } catch (error) {
    // What does not run has no job.
    if (error instanceof LibvirtError) return false;
    throw error;
  }
}

function workName(snapshot: VirtualMachineSnapshot): string {
  return `take ${snapshot.metadata.uid ?? ''}`;
}

/** Names the files of a snapshot: short, and never those of another one of the same name. */
function fileKey({ metadata }: VirtualMachineSnapshot): string {
  const digest = createHash('sha256')
    .update(metadata.uid ?? '')
    .digest('hex')
    .slice(0, 8);
  return `${(metadata.name ?? '').slice(0, 60)}.${digest}`;
}

/** Beside the file that is frozen. */
function overlayPath(path: string, key: string): string {
  const stem = basename(path, extname(path)).replace(/\.snap-.*$/, '');
  return join(dirname(path), `${stem}.snap-${key}.qcow2`);
}

function isAgentTrouble(error: unknown): boolean {
  return (
    isAgentUnavailable(error) ||
    (error instanceof LibvirtError && /guest agent|guest-fsfreeze|QEMU guest/i.test(error.message))
  );
}

/** Something else was at the domain: it is tried again. */
function isBusyWords(error: Error): boolean {
  return error instanceof LibvirtError && /cannot acquire state change lock/.test(error.message);
}
