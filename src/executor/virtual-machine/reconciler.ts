/**
 * The entry of src/executor/virtual-machine: makes a machine's domain what the machine says. One reconcile per machine at a
 * time reads both sides afresh and does the next necessary steps; events only ask for one.
 *
 *   VirtualMachine ─┐                                 ┌─▶ notes in status (power, before each step)
 *   its operations ─┼─▶ reconcile ─▶ libvirt ─▶ look ─┤
 *   libvirt domain ─┘       │                         └─▶ status, Events
 *                           │
 *     finalizer ─▶ resolve volumes and networks ─▶ render ─▶ compare ─▶ define ─▶ live changes ─▶ operation
 *                           └─────────────────────────────────────────▶ or power policy (power-policy.ts) ─▶ status
 *
 *   pure:     same-value, list-identity, compare, merge, live-plan, power-policy, crash-backoff, printable-status
 *   with I/O: domain-view, definition, apply-live, power, volumes, media, observe, delete-domain, machine-status
 *
 * Called by executor.ts only. What fails is told in conditions and Events, and looked at again; a guest is never touched
 * because something of ours failed.
 */
import { applyLive, liveDifferences, PendingDetaches } from './apply-live.ts';
import { countFailure, isStable, type Failures } from './crash-backoff.ts';
import { compareDefinition, define, markBoot, refreshMark, toFieldChange, toKnown } from './definition.ts';
import { deleteDomain } from './delete-domain.ts';
import { desiredDomain, type NodeTraits } from './desired-domain.ts';
import { findDomain, readDomain, type DomainView, type LibvirtCallOptions } from './domain-view.ts';
import { resolveInterfaces } from './interfaces.ts';
import { MachineStatus } from './machine-status.ts';
import type { Media } from './media.ts';
import { NotReadyError } from './not-ready-error.ts';
import { observeGraphics, observeGuest, observeInterfaces } from './observe.ts';
import { isFailure, powerAction, type EndReason } from './power-policy.ts';
import {
  beginStart,
  beginStop,
  continueStart,
  continueStop,
  destroy,
  hasAgentChannel,
  isAgentConnected,
  ShutdownRequests,
} from './power.ts';
import { machineState } from './printable-status.ts';
import type { DataObject } from './same-value.ts';
import { resolveVolumes, type ConfigMapObject, type ResolvedVolume, type SecretObject } from './volumes.ts';
import { isOver, outcome, stepOperation } from '../virtual-machine-operation/step-operation.ts';
import { validateObject } from '../../api/validate.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { VirtualNetwork } from '../../api/virtual-network.ts';
import {
  domainName,
  virtualMachineConditions,
  type FieldChange,
  type VirtualMachine,
} from '../../api/virtual-machine.ts';
import { toKubernetesTime, type Clock } from '../../base/clock.ts';
import { formatProblem, InvalidInputError, toError } from '../../base/errors.ts';
import { parseObjectKey } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { isConflict } from '../../kube/status-error.ts';
import { LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { ReconcileContext, ReconcileResult } from '../../reconcile/controller.ts';
import type { EventRecord } from '../../reconcile/event-recorder.ts';
import { addFinalizer, hasFinalizer, isBeingDeleted, removeFinalizer } from '../../reconcile/finalizers.ts';

/** What keeps a machine's object until its domain is gone. */
export const machineFinalizer = 'virtctl.dev/domain';

/** What the reconciler works with. */
export interface MachineReconcilerOptions {
  readonly nodeName: string;
  readonly machines: ResourceClient<VirtualMachine>;
  readonly operations: ResourceClient<VirtualMachineOperation>;
  readonly disks: ResourceClient<VirtualDisk>;
  readonly images: ResourceClient<VirtualImage>;
  readonly networks: ResourceClient<VirtualNetwork>;
  readonly secrets: ResourceClient<SecretObject>;
  readonly configMaps: ResourceClient<ConfigMapObject>;
  readonly media: Media;
  /** The connection to libvirt; undefined while there is none. */
  readonly libvirt: () => Libvirt | undefined;
  /** Names of a machine's operations that may not be over, as last seen, oldest first. */
  readonly openOperations: (key: string) => readonly string[];
  readonly traits: () => NodeTraits & { readonly kvmUsable: boolean; readonly kvmMessage: string };
  readonly record: (event: EventRecord) => void;
  readonly clock: Clock;
  readonly newId: () => string;
}

/** A running machine without an address is looked at this often, in milliseconds. */
const addressPollMs = 5_000;
/** … and this long after its start; then only now and then. */
const addressPatienceMs = 120_000;
const addressSlowPollMs = 60_000;
/** What failed on its own account is tried again after this long. */
const retryMs = 15_000;
/** What is not there yet, and no cache tells of (a Secret), is looked for this often. */
const notReadyMs = 4_000;
/** How long an ordinary call to libvirt may take. */
const callTimeoutMs = 30_000;

/** One reconcile's memory. */
interface Round {
  readonly key: string;
  readonly libvirt: Libvirt;
  readonly status: MachineStatus;
  readonly options: LibvirtCallOptions;
  readonly signal: AbortSignal;
  view: DomainView | undefined;
  wanted: DataObject | undefined;
  volumes: readonly ResolvedVolume[];
  /** Why `wanted` is not there, or could not be defined. */
  trouble: Error | undefined;
  requeueAfterMs: number | undefined;
}

/** See the head of this file. */
export class MachineReconciler {
  readonly #options: MachineReconcilerOptions;
  readonly #requests = new ShutdownRequests();
  readonly #detaches = new PendingDetaches();
  /** How often a machine's live changes were refused, one after the other. */
  readonly #refusals = new Map<string, number>();

  constructor(options: MachineReconcilerOptions) {
    this.#options = options;
  }

  /** Reconciles one machine, by `namespace/name`. */
  async reconcile(key: string, { signal, logger }: ReconcileContext): Promise<ReconcileResult | undefined> {
    const { machines, nodeName, clock } = this.#options;
    const libvirt = this.#options.libvirt();
    // Everything is looked at again when the connection is back.
    if (libvirt === undefined) return undefined;
    const found = await machines.find(parseObjectKey(key), { signal });
    if (found === undefined || !isOurs(found, nodeName)) {
      this.#refusals.delete(key);
      return undefined;
    }
    if (isBeingDeleted(found) && !hasFinalizer(found, machineFinalizer)) return undefined;
    try {
      const machine = isBeingDeleted(found) ? found : await addFinalizer(machines, found, machineFinalizer, signal);
      const round: Round = {
        key,
        libvirt,
        status: new MachineStatus(machines, machine, () => clock.now(), signal),
        options: { signal, timeoutMs: callTimeoutMs },
        signal,
        view: undefined,
        wanted: undefined,
        volumes: [],
        trouble: undefined,
        requeueAfterMs: undefined,
      };
      await this.#read(round);
      if (isBeingDeleted(machine)) await this.#delete(round);
      else await this.#run(round);
      return { requeueAfterMs: round.requeueAfterMs };
    } catch (error) {
      if (!isConflict(error)) throw error;
      logger.debug('changed meanwhile, looking again', { error: toError(error) });
      return { requeueAfterMs: 20 };
    }
  }

  async #read(round: Round): Promise<void> {
    const { machine } = round.status;
    const uuid = uuidOf(machine);
    const domain = await findDomain(round.libvirt, domainName(machine), uuid, round.options);
    round.view = domain === undefined ? undefined : await readDomain(domain, round.options);
  }

  async #run(round: Round): Promise<void> {
    const { status } = round;
    const { machine } = status;
    this.#forgetFailuresOfOldSpec(round);
    if (isForeign(machine, round.view)) {
      const message = `the domain "${domainName(machine)}" of this node belongs to somebody else`;
      status.condition('Synchronized', false, 'ForeignDomain', message);
      status.condition('Ready', false, 'StartFailed', message);
      status.next.printableStatus = 'Error';
      this.#event(round, 'Warning', 'ForeignDomain', 'Define', message);
      await status.write();
      round.requeueAfterMs = retryMs;
      return;
    }
    this.#noticeEnd(round);
    await this.#resolve(round);
    await this.#define(round);
    await this.#adoptBoot(round);
    await this.#changeLive(round);
    const isBusy = await this.#operate(round);
    if (!isBusy) await this.#power(round);
    await this.#tell(round);
  }

  /** Failures of an older spec say nothing about this one. */
  #forgetFailuresOfOldSpec({ status }: Round): void {
    const { generation } = status.machine.metadata;
    if (generation === undefined || status.power.generation === generation) return;
    status.next.power = { ...status.power, generation };
    delete status.next.failures;
  }

  /** A machine that ran when it was last looked at, and is off: how did it end? */
  #noticeEnd(round: Round): void {
    const { status, view } = round;
    const before = status.next.domain;
    if (before?.id === undefined) return;
    const isSameRun = view !== undefined && view.state !== 'off' && view.state !== 'crashed';
    const bootedAt = before.bootedAt === undefined ? undefined : Date.parse(before.bootedAt);
    const now = this.#options.clock.now();
    if (isSameRun) {
      if (status.next.failures !== undefined && isStable(bootedAt, now)) delete status.next.failures;
      return;
    }
    const reason = endOf(view);
    const wasAsked = status.power.stoppingSince !== undefined || status.power.held === true;
    status.next.lastStop = { reason: reason === 'Unknown' ? 'Failed' : reason, at: toKubernetesTime(now) };
    status.next.domain = { ...status.next.domain };
    delete (status.next.domain as { id?: number }).id;
    if (status.power.stoppingSince !== undefined) {
      status.next.power = { ...status.power };
      delete (status.next.power as { stoppingSince?: string }).stoppingSince;
    }
    if (wasAsked) {
      this.#event(round, 'Normal', reason === 'Saved' ? 'Saved' : 'Stopped', 'Stop', `the machine is off (${reason})`);
      return;
    }
    const message =
      reason === 'Unknown' ? 'it ended while nobody was looking' : `it ended by itself (${reason.toLowerCase()})`;
    this.#event(
      round,
      isFailure(reason) ? 'Warning' : 'Normal',
      isFailure(reason) ? 'Crashed' : 'Stopped',
      'Run',
      message,
    );
    const strategy = status.machine.spec.runStrategy ?? 'Always';
    if (strategy === 'Always' || (strategy === 'RerunOnFailure' && isFailure(reason))) {
      const ranMs = bootedAt === undefined ? 0 : Math.max(0, now - bootedAt);
      status.next.failures = toStatus(countFailure(failuresOf(status), ranMs, now, message));
    }
  }

  /** Finds out what the domain is to be. */
  async #resolve(round: Round): Promise<void> {
    const { status, signal } = round;
    const { machine } = status;
    try {
      const problems = validateObject(machine).filter(
        (problem) => (problem as { severity?: string }).severity !== 'warning',
      );
      if (problems.length > 0) throw new InvalidInputError(problems);
      round.volumes = await resolveVolumes(machine, this.#options, signal);
      const interfaces = await resolveInterfaces(machine, this.#options.networks, signal);
      const traits = this.#options.traits();
      const disks = round.volumes.map(({ disk }) => disk);
      const wanted = desiredDomain(machine, { disks, interfaces }, traits);
      if (wanted['type'] === 'kvm' && !traits.kvmUsable) {
        throw new NotReadyError(
          'KVMUnusable',
          'Error',
          `KVM cannot be used on node ${this.#options.nodeName}: ${traits.kvmMessage}`,
          {
            hint: 'set spec.allowEmulation of the Hypervisor to run it under emulation',
          },
        );
      }
      round.wanted = wanted;
    } catch (error) {
      if (!(error instanceof NotReadyError) && !(error instanceof InvalidInputError)) throw error;
      round.trouble = error;
      round.requeueAfterMs = error instanceof NotReadyError ? notReadyMs : retryMs;
    }
  }

  /** Brings the definition to what is wanted. */
  async #define(round: Round): Promise<void> {
    const { status, libvirt, wanted, options } = round;
    const { machine } = status;
    if (wanted === undefined) {
      status.condition(
        'Synchronized',
        false,
        round.trouble instanceof InvalidInputError ? 'InvalidSpec' : 'DefineFailed',
        messageOf(round.trouble),
      );
      return;
    }
    const view = round.view;
    const drift = view === undefined ? undefined : compareDefinition(machine, wanted, view);
    const isDrift = drift !== undefined && !drift.specChanged && drift.differences.length > 0;
    const changes = (drift?.differences ?? []).map((difference) => toFieldChange(toKnown(difference)));
    if (isDrift && machine.spec.driftPolicy === 'Report') {
      this.#tellDrift(round, changes, false);
      return;
    }
    try {
      if (view?.domain.name !== undefined && view.domain.name !== domainName(machine)) await this.#rename(round, view);
      if (view === undefined || drift?.needed === 'define') {
        round.view = await define(libvirt, machine, wanted, round.view, options);
        if (view === undefined)
          this.#event(round, 'Normal', 'Defined', 'Define', `defined the domain ${domainName(machine)}`);
      } else if (drift?.needed === 'mark') round.view = await refreshMark(machine, wanted, view, options);
    } catch (error) {
      if (!(error instanceof LibvirtError) && !(error instanceof InvalidInputError)) throw error;
      round.trouble = error;
      round.wanted = undefined;
      round.requeueAfterMs = retryMs;
      status.condition('Synchronized', false, 'DefineFailed', messageOf(error));
      this.#event(round, 'Warning', 'DefineFailed', 'Define', messageOf(error));
      return;
    }
    if (isDrift) this.#tellDrift(round, changes, true);
    else if (status.next.drift === undefined || drift?.specChanged === true || machine.spec.driftPolicy === 'Report') {
      delete status.next.drift;
      status.condition('Synchronized', true, 'InSync');
    }
  }

  async #rename(round: Round, view: DomainView): Promise<void> {
    // libvirt renames only what is off; until then the machine goes on under its old name.
    if (view.state !== 'off') throw new NameTakenEffectError(view.domain.name, domainName(round.status.machine));
    await view.domain.rename(domainName(round.status.machine), round.options);
    await this.#read(round);
  }

  #tellDrift(round: Round, changes: readonly FieldChange[], corrected: boolean): void {
    const paths = changes.map(({ path }) => path).join(', ');
    round.status.next.drift = [...changes];
    if (corrected) {
      round.status.condition('Synchronized', true, 'DriftCorrected', `put right: ${paths}`);
      this.#event(round, 'Warning', 'DriftCorrected', 'Define', `changed behind our back and put right: ${paths}`);
    } else {
      round.status.condition('Synchronized', false, 'Drifted', `changed behind our back: ${paths}`);
      this.#event(round, 'Warning', 'Drifted', 'Compare', `changed behind our back: ${paths}`);
    }
  }

  /** A domain that somebody else started has no mark of its boot: it gets one, as it is now. */
  async #adoptBoot(round: Round): Promise<void> {
    const { view, status, wanted } = round;
    if (view?.live === undefined || view.boot !== undefined || status.power.bootStep !== undefined) return;
    const mark = {
      id: this.#options.newId(),
      at: this.#options.clock.now(),
      baseline: liveDifferences(view.liveMark?.applied ?? wanted ?? {}, view).map(toKnown),
    };
    await markBoot(view, mark, round.options);
    round.view = { ...view, boot: mark };
    await status.note({
      power: { boot: mark.id, held: null, startedFor: status.machine.spec.runStrategy ?? 'Always' },
      domain: { bootedAt: toKubernetesTime(mark.at), ...(view.id === undefined ? {} : { id: view.id }) },
    });
    this.#event(round, 'Normal', 'Started', 'Adopt', 'found running: somebody else started it');
  }

  async #changeLive(round: Round): Promise<void> {
    const { view, wanted, status } = round;
    const before = status.next.restartRequired ?? [];
    if (view?.live === undefined || wanted === undefined || status.power.bootStep !== undefined) {
      if (view?.live === undefined) this.#tellRestart(round, []);
      return;
    }
    const isReportOnly =
      status.machine.spec.driftPolicy === 'Report' &&
      status.machine.status?.observedGeneration === status.machine.metadata.generation;
    if (isReportOnly) {
      const differences = liveDifferences(wanted, view).map((difference) => toFieldChange(toKnown(difference)));
      const waiting = new Set(before.map(({ path }) => path));
      const drifted = differences.filter(({ path }) => !waiting.has(path));
      if (drifted.length > 0) this.#tellDrift(round, [...(status.next.drift ?? []), ...drifted], false);
      this.#tellRestart(
        round,
        differences.filter(({ path }) => waiting.has(path)),
      );
      return;
    }
    const result = await applyLive(wanted, view, this.#detaches, this.#options.clock.now(), round.options);
    round.view = result.view;
    if (result.done.length > 0) {
      const paths = result.done.map(({ path }) => path).join(', ');
      this.#event(round, 'Normal', 'LiveChanged', 'Change', `changed in the running machine: ${paths}`);
      if (status.machine.status?.observedGeneration === status.machine.metadata.generation && before.length === 0) {
        this.#tellDrift(round, result.done, true);
      }
    }
    if (result.isPending) round.requeueAfterMs = Math.min(round.requeueAfterMs ?? Infinity, 2_000);
    else if (result.restartRequired.some(({ message }) => message !== undefined)) {
      // What was refused may be taken later: a guest that has booted further plugs what it did not before.
      const attempt = this.#refusals.get(round.key) ?? 0;
      this.#refusals.set(round.key, attempt + 1);
      round.requeueAfterMs = Math.min(round.requeueAfterMs ?? Infinity, 1_000 * 2 ** Math.min(attempt, 8));
    } else this.#refusals.delete(round.key);
    this.#tellRestart(round, result.restartRequired);
  }

  #tellRestart({ status, ...round }: Round, changes: readonly FieldChange[]): void {
    const before = status.next.restartRequired ?? [];
    if (changes.length === 0) {
      delete status.next.restartRequired;
      status.condition('RestartRequired', false, 'NothingPending');
      return;
    }
    status.next.restartRequired = [...changes];
    const words = changes.map(
      ({ path, from, to, message }) =>
        `${path}: ${from ?? 'nothing'} → ${to ?? 'nothing'}${message === undefined ? '' : ` (${message})`}`,
    );
    status.condition('RestartRequired', true, 'FieldsPending', words.join('; '));
    const isNew = changes.some(({ path }) => !before.some((one) => one.path === path));
    if (isNew)
      this.#event(
        { status, ...round },
        'Normal',
        'RestartRequired',
        'Change',
        `waits for a restart: ${words.join('; ')}`,
      );
  }

  /** Goes on with the oldest operation that is not over; whether one goes on still. */
  async #operate(round: Round): Promise<boolean> {
    const { key, status, signal } = round;
    const { operations, secrets, clock, newId, nodeName } = this.#options;
    const { namespace } = status.machine.metadata;
    // Bounded: each turn ends one operation of those that were seen.
    for (const name of this.#options.openOperations(key)) {
      const operation = await operations.find({ namespace, name }, { signal });
      if (operation === undefined || isOver(operation) || isBeingDeleted(operation)) continue;
      const isFirst = operation.status?.phase !== 'Running';
      if (isFirst)
        this.#event(
          round,
          'Normal',
          'OperationStarted',
          operation.spec.verb,
          `operation ${name}: ${operation.spec.verb}`,
        );
      const progress = await stepOperation(operation, round.view, {
        operations,
        secrets,
        status,
        requests: this.#requests,
        wanted: round.wanted ?? round.view?.mark?.applied,
        notReady: round.trouble,
        nodeName,
        now: () => clock.now(),
        newId,
        options: round.options,
        signal,
      });
      if (!progress.isOver) {
        round.requeueAfterMs = Math.min(round.requeueAfterMs ?? Infinity, progress.requeueAfterMs ?? retryMs);
        if (round.view !== undefined) round.view = await readDomain(round.view.domain, round.options);
        return true;
      }
      const failed = progress.operation.status?.phase === 'Failed';
      this.#event(
        round,
        failed ? 'Warning' : 'Normal',
        failed ? 'OperationFailed' : 'OperationSucceeded',
        operation.spec.verb,
        outcome(progress.operation),
      );
      if (round.view !== undefined) round.view = await readDomain(round.view.domain, round.options);
      this.#noticeEnd(round);
    }
    return false;
  }

  async #power(round: Round): Promise<void> {
    const { status } = round;
    const strategy = status.machine.spec.runStrategy ?? 'Always';
    const now = this.#options.clock.now();
    // A start that was cut off goes on, unless it is not wanted any more.
    if (status.power.bootStep !== undefined && strategy !== 'Halted') {
      await this.#start(round);
      return;
    }
    const action = powerAction({
      strategy,
      state: round.view?.state ?? 'off',
      end: lastEnd(status),
      startedFor: status.power.startedFor,
      held: status.power.held === true,
      failures: failuresOf(status),
      deleting: false,
      now,
    });
    switch (action.type) {
      case 'none':
        await this.#settle(round);
        return;
      case 'wait':
        round.requeueAfterMs = Math.min(round.requeueAfterMs ?? Infinity, action.until - now + 10);
        return;
      case 'start':
        if (round.wanted === undefined || round.view === undefined) return;
        await status.note({ power: beginStart(this.#options.newId()), printableStatus: 'Starting' });
        await this.#start(round);
        return;
      case 'stop':
        await this.#stop(round, false);
        return;
      case 'clear':
        if (round.view !== undefined) await destroy(round.view, round.options);
        round.requeueAfterMs = 50;
        return;
    }
  }

  /** Nothing is being done: what was noted of a stop or start that nobody wants any more goes. */
  async #settle({ status, view }: Round): Promise<void> {
    const runs = view !== undefined && view.state !== 'off';
    if (status.power.stoppingSince !== undefined) {
      await status.note({ power: { stoppingSince: null } });
      if (view !== undefined) this.#requests.forget(view.domain.uuid);
    }
    if (!runs) return;
    // It runs, by whoever's hand: that counts as the start that the strategy asked for.
    const strategy = status.machine.spec.runStrategy ?? 'Always';
    if (status.power.startedFor !== strategy || status.power.held === true) {
      await status.note({ power: { startedFor: strategy, held: null } });
    }
  }

  async #start(round: Round): Promise<void> {
    const { status, view, options } = round;
    const { clock } = this.#options;
    if (view === undefined) return;
    const { machine } = status;
    try {
      round.view =
        (await continueStart(
          view,
          status.power,
          { paused: machine.spec.startPaused === true, discardSavedState: false },
          {
            wanted: round.wanted ?? {},
            note: (notes) => status.note(notes),
            startedFor: machine.spec.runStrategy ?? 'Always',
            boots: status.next.domain?.boots ?? 0,
            now: () => clock.now(),
            options,
          },
        )) ?? (await readDomain(view.domain, options));
      this.#event(round, 'Normal', 'Started', 'Start', 'the machine was started');
      this.#noticeEnd(round);
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      const message = messageOf(error);
      const now = clock.now();
      const failures = toStatus(countFailure(failuresOf(status), 0, now, message));
      await status.note({ power: { bootStep: null }, failures });
      round.trouble = error;
      round.requeueAfterMs = Math.max(1_000, (Date.parse(failures.nextAttemptAt ?? '') || now) - now + 10);
      this.#event(round, 'Warning', 'StartFailed', 'Start', message);
    }
  }

  async #stop(round: Round, deleting: boolean): Promise<void> {
    const { status, view, options } = round;
    if (view === undefined) return;
    const now = this.#options.clock.now();
    const begin = beginStop(status.power, now);
    const wasStarting = status.power.bootStep === 'Starting';
    if (begin !== undefined || status.power.bootStep !== undefined) {
      await status.note({
        power: { ...begin, bootStep: null },
        printableStatus: deleting ? 'Terminating' : 'Stopping',
      });
      if (begin !== undefined) this.#event(round, 'Normal', 'Stopping', 'Stop', 'the guest is asked to shut down');
    }
    // A start that was cut off before the guest's first instruction: there is nobody to ask.
    const neverRan = wasStarting && view.state === 'paused';
    const seconds = neverRan ? 0 : (status.machine.spec.terminationGracePeriodSeconds ?? 60);
    const progress = await continueStop(view, {
      requests: this.#requests,
      now,
      since: Date.parse(status.power.stoppingSince ?? '') || now,
      graceMs: seconds * 1000,
      force: seconds === 0,
      options,
    });
    if (progress.wasDestroyed) {
      this.#event(
        round,
        'Warning',
        'Destroyed',
        'Stop',
        seconds === 0
          ? 'powered off without grace period'
          : `powered off: the guest did not shut down within ${seconds} s`,
      );
    }
    if (progress.isOff) {
      round.view = await readDomain(view.domain, options);
      this.#noticeEnd(round);
      return;
    }
    round.requeueAfterMs = progress.requeueAfterMs;
  }

  async #delete(round: Round): Promise<void> {
    const { status, signal } = round;
    const { machines, media } = this.#options;
    const { machine } = status;
    const view = isForeign(machine, round.view) ? undefined : round.view;
    round.view = view;
    if (view !== undefined && view.state !== 'off') {
      await this.#stop(round, true);
      if (round.view?.state !== undefined && round.view.state !== 'off') {
        status.next.printableStatus = 'Terminating';
        status.condition('Ready', false, 'Terminating', 'the guest is shutting down');
        await status.write();
        return;
      }
    }
    if (view !== undefined) {
      try {
        await deleteDomain(view.domain, round.options);
      } catch (error) {
        if (!(error instanceof LibvirtError)) throw error;
        status.next.printableStatus = 'Terminating';
        status.condition('Ready', false, 'Terminating', messageOf(error));
        this.#event(round, 'Warning', 'DeleteFailed', 'Delete', messageOf(error));
        await status.write();
        round.requeueAfterMs = retryMs;
        return;
      }
    }
    await media.remove(machine.metadata.uid ?? '');
    this.#event(round, 'Normal', 'Deleted', 'Delete', `the domain ${domainName(machine)} is gone`);
    await removeFinalizer(machines, status.machine, machineFinalizer, signal);
  }

  /** Writes what was found. */
  async #tell(round: Round): Promise<void> {
    const { status, view, options } = round;
    const { machine, next } = status;
    const { clock, nodeName } = this.#options;
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
    this.#tellDomain(round);
    this.#tellIgnored(round);
    this.#tellVolumes(round);
    status.condition('Scheduled', true, 'Bound', `on node ${nodeName}`);
    status.condition(
      'Paused',
      view?.state === 'paused',
      view?.state === 'paused' ? 'Paused' : isOff ? 'Stopped' : 'Running',
    );
    const hasChannel = hasAgentChannel(view?.live);
    const answers = isAgentConnected(view?.live);
    status.condition(
      'AgentConnected',
      answers,
      answers ? 'AgentAnswers' : hasChannel ? 'AgentSilent' : 'NoAgentChannel',
    );
    if (view?.live !== undefined) {
      next.interfaces = await observeInterfaces(machine, view, options);
      next.graphics = observeGraphics(view.live);
      if (answers && next.guest === undefined) next.guest = await observeGuest(view, options);
      this.#pollAddresses(round, now);
    } else {
      delete next.interfaces;
      delete next.graphics;
      delete next.guest;
    }
    if (next.interfaces?.length === 0) delete next.interfaces;
    if (next.graphics?.length === 0) delete next.graphics;
    const before = machine.status?.printableStatus;
    if ((await status.write()) && before !== next.printableStatus) this.#eventOfState(round, before);
  }

  #tellDomain({ status, view }: Round): void {
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
      ...(view.id === undefined ? {} : { id: view.id }),
      state,
      reason,
      ...(view.boot === undefined ? {} : { bootedAt: toKubernetesTime(view.boot.at) }),
      savedState: view.hasManagedSave,
    };
  }

  #tellIgnored({ status, view }: Round): void {
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
    const refused = (status.next.restartRequired ?? []).filter(({ message }) => message !== undefined);
    if (refused.length > 0) {
      const words = refused.map(({ path, message }) => `${path}: ${message ?? ''}`).join('; ');
      status.condition('Degraded', true, 'LiveChangeFailed', words);
    } else status.condition('Degraded', false, 'AsExpected');
  }

  #tellVolumes({ status, volumes, view }: Round): void {
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

  #pollAddresses(round: Round, now: number): void {
    const { view, status } = round;
    const interfaces = status.next.interfaces ?? [];
    if (view?.state !== 'running' || interfaces.length === 0) return;
    const isComplete = interfaces.every(({ ips }) => ips !== undefined && ips.length > 0);
    const isFresh = now - (view.boot?.at ?? 0) < addressPatienceMs;
    const waitMs = isComplete ? undefined : isFresh ? addressPollMs : addressSlowPollMs;
    if (waitMs !== undefined) round.requeueAfterMs = Math.min(round.requeueAfterMs ?? Infinity, waitMs);
  }

  #eventOfState(round: Round, before: string | undefined): void {
    const now = round.status.next.printableStatus ?? 'Unknown';
    if (now === 'CrashLoopBackOff' || now === 'Error') {
      const message = messageOf(round.trouble) || (round.status.next.failures?.message ?? now);
      this.#event(round, 'Warning', now === 'Error' ? 'NotReady' : now, 'Run', message);
    } else if (now === 'Paused' || (before === 'Paused' && now === 'Running')) {
      this.#event(round, 'Normal', now === 'Paused' ? 'Paused' : 'Unpaused', 'Run', `${before ?? ''} → ${now}`);
    }
  }

  #event(round: Pick<Round, 'status'>, type: 'Normal' | 'Warning', reason: string, action: string, note: string): void {
    this.#options.record({ regarding: round.status.machine, type, reason, action, note });
  }
}

/** A running domain cannot be renamed. */
class NameTakenEffectError extends InvalidInputError {
  constructor(now: string, wanted: string) {
    super([
      {
        path: 'spec.domain.name',
        message: `the running domain "${now}" can be renamed to "${wanted}" only when it is off`,
      },
    ]);
  }
}

function isOurs(machine: VirtualMachine, nodeName: string): boolean {
  return machine.spec.nodeName === nodeName;
}

function uuidOf(machine: VirtualMachine): string | undefined {
  const given = machine.spec.domain?.uuid;
  return given ?? machine.metadata.uid;
}

/** A domain of this name that neither carries our mark for this machine nor its UUID. */
function isForeign(machine: VirtualMachine, view: DomainView | undefined): boolean {
  if (view === undefined) return false;
  const uuid = (uuidOf(machine) ?? '').toLowerCase();
  return view.mark?.uid !== machine.metadata.uid && view.domain.uuid !== uuid;
}

function endOf(view: DomainView | undefined): EndReason {
  if (view === undefined) return 'Unknown';
  if (view.state === 'crashed') return 'Crashed';
  if (view.libvirtState.state !== 'shutoff') return 'Unknown';
  switch (view.libvirtState.reason) {
    case 'shutdown':
      return 'Shutdown';
    case 'destroyed':
      return 'Destroyed';
    case 'crashed':
      return 'Crashed';
    case 'migrated':
      return 'Migrated';
    case 'saved':
      return 'Saved';
    case 'failed':
      return 'Failed';
    case 'from-snapshot':
      return 'FromSnapshot';
    default:
      return 'Unknown';
  }
}

function lastEnd(status: MachineStatus): EndReason | undefined {
  return status.next.lastStop?.reason as EndReason | undefined;
}

function failuresOf(status: MachineStatus): Failures | undefined {
  const { failures } = status.next;
  if (failures === undefined) return undefined;
  return {
    count: failures.count,
    lastAt: Date.parse(failures.lastAt ?? '') || 0,
    nextAttemptAt: Date.parse(failures.nextAttemptAt ?? '') || 0,
    message: failures.message ?? '',
  };
}

function toStatus(failures: Failures): NonNullable<NonNullable<VirtualMachine['status']>['failures']> {
  return {
    count: failures.count,
    lastAt: toKubernetesTime(failures.lastAt),
    // Whole seconds, and never early.
    nextAttemptAt: toKubernetesTime(failures.nextAttemptAt + (failures.count > 1 ? 999 : 0)),
    message: failures.message,
  };
}

function messageOf(error: Error | undefined): string {
  if (error === undefined) return '';
  return error instanceof InvalidInputError && error.problems.length > 0
    ? error.problems.map(formatProblem).join('; ')
    : error.message;
}

function troubleWord(trouble: Error): NonNullable<NonNullable<VirtualMachine['status']>['printableStatus']> {
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

/** The types of a machine's conditions, for whoever lists them. */
export const machineConditionTypes = Object.values(virtualMachineConditions);
