/**
 * Writes what a reconcile found into the machine's status: the last step of each.
 */
import { failuresOf, lastEnd } from './failure-notes.ts';
import type { MachineStatus } from './machine-status.ts';
import { NotReadyError } from './not-ready-error.ts';
import { noticeEnd } from './notice-end.ts';
import { observeGraphics, observeGuest, observeInterfaces } from './observe.ts';
import { hasAgentChannel, isAgentConnected } from './power.ts';
import { toFieldChange } from './definition.ts';
import { machineState } from './printable-status.ts';
import { lookAgain, messageOf, tellEvent, type Round } from './round.ts';
import { findCondition } from '../../api/meta.ts';
import type { PrintableStatus } from '../../api/virtual-machine.ts';
import { toKubernetesTime } from '../../base/clock.ts';

/** A running machine without an address is looked at this often, in milliseconds. */
const addressPollMs = 5_000;
/** … and this long after its start; then only now and then. */
const addressPatienceMs = 120_000;
const addressSlowPollMs = 60_000;

/** Writes what was found. */
export async function report(round: Round): Promise<void> {
  // A guest may have ended since the round began: what is written below does not tell that it ran any more.
  noticeEnd(round);
  const { status, view, options } = round;
  const { machine, next } = status;
  const { clock, nodeName } = round.parts;
  const now = clock.now();
  const state = machineState({
    view,
    power: status.power,
    strategy: machine.spec.runStrategy ?? 'Always',
    end: lastEnd(status),
    failures: failuresOf(status),
    deleting: false,
    now,
  });
  const { trouble } = round;
  const isOff = view === undefined || view.state === 'off';
  const blocked =
    isOff && trouble !== undefined && machine.spec.runStrategy !== 'Halted' && state.reason !== 'CrashLoopBackOff';
  next.printableStatus = blocked ? troubleWord(trouble) : state.printableStatus;
  status.condition(
    'Ready',
    blocked ? false : state.ready,
    blocked ? troubleReason(trouble) : state.reason,
    trouble !== undefined && (blocked || !state.ready) ? messageOf(trouble) : stateMessage(state.reason, status),
  );
  next.observedGeneration = machine.metadata.generation;
  next.nodeName = view === undefined ? undefined : nodeName;
  tellDomain(round);
  tellIgnored(round);
  tellVolumes(round);
  status.condition('Scheduled', true, 'Bound', `on node ${nodeName}`);
  status.condition(
    'Paused',
    view?.state === 'paused',
    view?.state === 'paused' ? 'Paused' : isOff ? 'Stopped' : 'Running',
    view?.state === 'paused' ? await whyHeld(round) : '',
  );
  const hasChannel = hasAgentChannel(view?.live);
  const answers = isAgentConnected(view?.live);
  status.condition('AgentConnected', answers, answers ? 'AgentAnswers' : hasChannel ? 'AgentSilent' : 'NoAgentChannel');
  if (view?.live !== undefined) {
    next.interfaces = await observeInterfaces(machine, view, options);
    next.graphics = observeGraphics(view.live);
    if (answers && next.guest === undefined) next.guest = await observeGuest(view, options);
    pollAddresses(round, now);
  } else {
    delete next.interfaces;
    delete next.graphics;
    delete next.guest;
  }
  if (next.interfaces?.length === 0) delete next.interfaces;
  if (next.graphics?.length === 0) delete next.graphics;
  const before = machine.status?.printableStatus;
  if ((await status.write()) && before !== next.printableStatus) tellState(round, before);
}

/** Which disks a guest is held for, because they cannot be written to: QEMU stops it rather than have it lose data. */
async function whyHeld({ view, volumes, options }: Round): Promise<string> {
  if (view?.libvirtState.reason !== 'io-error') return '';
  const errors = await view.domain.blocks.errors(options);
  if (errors.length === 0) return '';
  const names = errors.map(({ disk, error }) => {
    const volume = volumes.find(({ target }) => target === disk);
    const what = error === 'no-space' ? 'there is no space left' : 'it cannot be read or written';
    return `${volume === undefined ? disk : `volume ${volume.name}`}${volume?.path === undefined ? '' : ` (${volume.path})`}: ${what}`;
  });
  return `${names.join('; ')}; once that is mended, unpause it`;
}

function tellDomain({ status, view }: Round): void {
  if (view === undefined) {
    const { boots, bootedAt } = status.next.domain ?? {};
    status.next.domain = {
      ...(boots === undefined ? {} : { boots }),
      ...(bootedAt === undefined ? {} : { bootedAt }),
    };
    return;
  }
  const { state, reason } = view.libvirtState;
  const { id: _id, ...rest } = status.next.domain ?? {};
  status.next.domain = {
    ...rest,
    name: view.domain.name,
    uuid: view.domain.uuid,
    // A run that is over is noticed once, also when libvirt passes through `crashed` on the way to `shutoff`.
    ...(view.id === undefined || view.state === 'off' || view.state === 'crashed' ? {} : { id: view.id }),
    state,
    reason,
    ...(view.boot === undefined ? {} : { bootedAt: toKubernetesTime(view.boot.at) }),
    // A start that goes on with saved memory is told so until it is let run; see hasNeverRun.
    savedState: view.hasManagedSave || (status.power.bootStep === 'Starting' && rest.savedState === true),
  };
}

function tellIgnored({ status, view, plugged, limits }: Round): void {
  const ignored = (view?.mark?.ignored ?? []).map((known) =>
    toFieldChange({ path: known.path, from: known.from, to: known.to }),
  );
  if (ignored.length > 0) {
    status.next.ignored = ignored;
    status.condition(
      'Degraded',
      true,
      'IgnoredByLibvirt',
      `libvirt did not keep: ${ignored.map(({ path }) => path).join(', ')}`,
    );
    return;
  }
  delete status.next.ignored;
  const refused = (status.next.restartRequired ?? []).filter(
    ({ path, message }) => message !== undefined && !limits.has(path),
  );
  if (refused.length > 0) {
    const words = refused.map(({ path, message }) => `${path}: ${message ?? ''}`).join('; ');
    status.condition('Degraded', true, 'LiveChangeFailed', words);
  } else if (plugged.cutOff.length > 0) {
    status.condition('Degraded', true, 'NetworkNotReady', plugged.cutOff.join('; '));
  } else status.condition('Degraded', false, 'AsExpected');
}

function tellVolumes({ status, volumes, view }: Round): void {
  if (volumes.length === 0) {
    if ((status.machine.spec.volumes ?? []).length === 0) delete status.next.volumes;
    return;
  }
  status.next.volumes = volumes.map(({ name, target, path }) => ({
    name,
    target,
    ...(path === undefined ? {} : { source: path }),
    phase: view === undefined ? ('Pending' as const) : ('Attached' as const),
  }));
}

function pollAddresses(round: Round, now: number): void {
  const { view, status } = round;
  const interfaces = status.next.interfaces ?? [];
  if (view?.state !== 'running' || interfaces.length === 0) return;
  const isComplete = interfaces.every(({ ips }) => ips !== undefined && ips.length > 0);
  const isFresh = now - (view.boot?.at ?? 0) < addressPatienceMs;
  const waitMs = isComplete ? undefined : isFresh ? addressPollMs : addressSlowPollMs;
  if (waitMs !== undefined) lookAgain(round, waitMs);
}

function tellState(round: Round, before: string | undefined): void {
  const now = round.status.next.printableStatus ?? 'Unknown';
  if (now === 'CrashLoopBackOff' || now === 'Error') {
    const message = messageOf(round.trouble) || (round.status.next.failures?.message ?? now);
    tellEvent(round, 'Warning', now === 'Error' ? 'NotReady' : now, 'Run', message);
  } else if (now === 'Paused' || (before === 'Paused' && now === 'Running')) {
    const why = findCondition(round.status.next, 'Paused')?.message ?? '';
    const note = `${before ?? ''} → ${now}${why === '' ? '' : `: ${why}`}`;
    tellEvent(round, why === '' ? 'Normal' : 'Warning', now === 'Paused' ? 'Paused' : 'Unpaused', 'Run', note);
  }
}

function troubleWord(trouble: Error): PrintableStatus {
  return trouble instanceof NotReadyError ? trouble.printableStatus : 'Error';
}

function troubleReason(trouble: Error): 'StartFailed' | NotReadyError['reason'] {
  return trouble instanceof NotReadyError ? trouble.reason : 'StartFailed';
}

function stateMessage(reason: string, status: MachineStatus): string {
  const { failures } = status.next;
  if (reason !== 'CrashLoopBackOff' || failures === undefined) return '';
  return `${failures.message ?? ''}; ${failures.count} times, next start at ${failures.nextAttemptAt ?? ''}`;
}
