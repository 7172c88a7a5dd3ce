/**
 * VirtualMachineOperations: one verb, once. Each step is written to the operation's status before it begins; what a repeat
 * must know is in its context. Steps are chosen so that doing one again changes nothing, or so that it can be seen whether
 * it happened:
 *
 *   Start, Restart     a boot has a mark: the id in context.boot (virtual-machine/power.ts)
 *   Stop               context.boot names the boot that is to end
 *   Reset, InjectNMI,  Suspending ─▶ Acting ─▶ Resuming: while the CPUs are paused, twice is the same as once
 *   SoftReboot
 *   Save               off with a saved state, or still the same boot
 *   Pause, Unpause,    the same twice
 *   SetUserPassword
 *   SendKey            cannot be repeated or seen: when it is unknown whether keys were sent, it fails and says so
 */
import type { OperationVerb, VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { virtualMachineOperationReasons } from '../../api/virtual-machine-operation.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { FailedError, toError } from '../../base/errors.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import {
  isAgentUnavailable,
  isInvalidState,
  isUnsupported,
  LibvirtError,
  OutcomeUnknownError,
} from '../../libvirt/errors.ts';
import { memberAt, type DataObject } from '../virtual-machine/same-value.ts';
import { readDomain, type DomainView, type LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import type { MachineStatus } from '../virtual-machine/machine-status.ts';
import {
  beginStart,
  beginStop,
  continueStart,
  continueStop,
  hasAgentChannel,
  type ShutdownRequests,
} from '../virtual-machine/power.ts';
import type { SecretObject } from '../virtual-machine/volumes.ts';
import { keyCodes } from './key-codes.ts';

type Reason = keyof typeof virtualMachineOperationReasons;
type OperationStatus = NonNullable<VirtualMachineOperation['status']>;

/** The operation cannot be done: it ends as Failed. */
export class OperationFailedError extends FailedError {
  override readonly code: Reason | 'OutcomeUnknown';

  constructor(code: Reason | 'OutcomeUnknown', message: string) {
    super(message);
    this.code = code;
  }
}

/** What an operation works with. */
export interface OperationContext {
  readonly operations: ResourceClient<VirtualMachineOperation>;
  readonly secrets: ResourceClient<SecretObject>;
  readonly status: MachineStatus;
  readonly requests: ShutdownRequests;
  /** The domain as asked for; undefined while something that it needs is not there. */
  readonly wanted: DataObject | undefined;
  /** Why it is undefined. */
  readonly notReady: Error | undefined;
  readonly nodeName: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly newId: () => string;
  readonly options: LibvirtCallOptions;
  readonly signal: AbortSignal;
}

/** How an operation went on. */
export interface OperationProgress {
  /** The operation as it is now. */
  readonly operation: VirtualMachineOperation;
  readonly isOver: boolean;
  readonly requeueAfterMs?: number;
}

/** Does as many steps of an operation as can be done now. */
export async function stepOperation(
  operation: VirtualMachineOperation,
  view: DomainView | undefined,
  context: OperationContext,
): Promise<OperationProgress> {
  const run = new Run(operation, view, context);
  try {
    if ((operation.status?.phase ?? 'Pending') === 'Pending') await run.begin();
    run.checkDeadline();
    const progress = await run.advance();
    if (progress !== 'over') return { operation: run.operation, isOver: false, requeueAfterMs: progress };
    return { operation: run.operation, isOver: true };
  } catch (error) {
    if (error instanceof OutcomeUnknownError || context.signal.aborted) throw error;
    if (error instanceof OperationFailedError) await run.end('Failed', error.code, error.message);
    else if (error instanceof LibvirtError) {
      const reason: Reason = isAgentUnavailable(error)
        ? 'AgentUnavailable'
        : isUnsupported(error)
          ? 'Unsupported'
          : 'LibvirtError';
      await run.end('Failed', reason, error.message);
    } else throw error;
    return { operation: run.operation, isOver: true };
  }
}

/** Steps that start with this one do something; the verb's whole way stands at the head of this file. */
const firstSteps: Readonly<Record<OperationVerb, string>> = {
  Start: 'Starting',
  Stop: 'Stopping',
  Restart: 'Stopping',
  Reset: 'Suspending',
  InjectNMI: 'Suspending',
  SoftReboot: 'Suspending',
  Pause: 'Acting',
  Unpause: 'Acting',
  SetUserPassword: 'Acting',
  SendKey: 'Sending',
  Save: 'Saving',
  Revert: 'Unsupported',
  Migrate: 'Unsupported',
};

class Run {
  operation: VirtualMachineOperation;
  #view: DomainView | undefined;
  readonly #context: OperationContext;
  /** Whether the step that goes on was begun by an executor before this one, or in an earlier reconcile. */
  #isRepeat: boolean;

  constructor(operation: VirtualMachineOperation, view: DomainView | undefined, context: OperationContext) {
    this.operation = operation;
    this.#view = view;
    this.#context = context;
    this.#isRepeat = operation.status?.phase === 'Running';
  }

  get #state(): DomainView['state'] {
    return this.#view?.state ?? 'off';
  }

  get #notes(): Readonly<Record<string, string>> {
    return this.operation.status?.context ?? {};
  }

  /** Checks that it may be done, and writes its first step. */
  async begin(): Promise<void> {
    const { verb } = this.operation.spec;
    const strategy = this.#context.status.machine.spec.runStrategy ?? 'Always';
    const state = this.#state;
    if (verb === 'Revert' || verb === 'Migrate') {
      throw new OperationFailedError('Unsupported', `the verb ${verb} is not done by this executor`);
    }
    if (verb === 'Stop' && strategy === 'Always') {
      throw new OperationFailedError(
        'RunStrategyForbids',
        'spec.runStrategy is Always, which would start it again at once: set it to Halted instead',
      );
    }
    if ((verb === 'Start' || verb === 'Restart') && strategy === 'Halted') {
      throw new OperationFailedError(
        'RunStrategyForbids',
        'spec.runStrategy is Halted, which would stop it again at once: set it to Always instead',
      );
    }
    const needsGuest = ['Reset', 'InjectNMI', 'SoftReboot', 'SendKey', 'SetUserPassword', 'Pause', 'Unpause', 'Save'];
    const isSaved = verb === 'Save' && state === 'off' && this.#view?.hasManagedSave === true;
    if (needsGuest.includes(verb) && (state === 'off' || state === 'crashed') && !isSaved) {
      throw new OperationFailedError('NotRunning', 'the machine is not running');
    }
    if ((verb === 'SoftReboot' || verb === 'SetUserPassword') && state === 'paused') {
      throw new OperationFailedError('NotRunning', 'the machine is paused');
    }
    const boot = this.#view?.boot?.id;
    await this.#write({
      phase: 'Running',
      nodeName: this.#context.nodeName,
      startTime: toKubernetesTime(this.#context.now()),
      ...this.#stepOf(firstSteps[verb], {
        machineUid: this.#context.status.machine.metadata.uid ?? '',
        state,
        ...(boot === undefined ? {} : { boot }),
        newBoot: this.#context.newId(),
      }),
    });
    this.#isRepeat = false;
  }

  checkDeadline(): void {
    const { activeDeadlineSeconds } = this.operation.spec;
    const startTime = this.operation.status?.startTime;
    const { machineUid } = this.#notes;
    if (machineUid !== undefined && machineUid !== this.#context.status.machine.metadata.uid) {
      throw new OperationFailedError('MachineReplaced', 'the machine was deleted and made anew meanwhile');
    }
    if (activeDeadlineSeconds === undefined || startTime === undefined) return;
    if (this.#context.now() - Date.parse(startTime) > activeDeadlineSeconds * 1000) {
      throw new OperationFailedError('DeadlineExceeded', `not done after ${activeDeadlineSeconds} s`);
    }
  }

  /** Goes from step to step until it is over, or something has to be waited for: then for how many milliseconds. */
  async advance(): Promise<'over' | number> {
    // Each verb has at most four steps.
    for (let turn = 0; turn < 8; turn += 1) {
      const progress = await this.#step();
      if (progress !== 'next') return progress;
      this.#isRepeat = false;
    }
    throw new FailedError(`operation ${this.operation.metadata.name ?? ''} does not come to an end`);
  }

  async #step(): Promise<'next' | 'over' | number> {
    const { verb } = this.operation.spec;
    switch (verb) {
      case 'Start':
        return this.#start(this.operation.spec.start ?? {});
      case 'Stop':
        return this.#stop(this.operation.spec.stop ?? {});
      case 'Restart':
        return this.operation.status?.step === 'Stopping'
          ? this.#stop(this.operation.spec.restart ?? {})
          : this.#start(this.operation.spec.restart ?? {});
      case 'Reset':
        return this.#whilePaused(({ domain }, options) => domain.reset(options));
      case 'InjectNMI':
        return this.#whilePaused(({ domain }, options) => domain.injectNmi(options));
      case 'SoftReboot':
        return this.#softReboot();
      case 'Pause':
        if (this.#state === 'running') await this.#act(({ domain }, options) => domain.suspend(options));
        return this.#done(this.#state === 'off' ? 'it ended meanwhile' : 'its CPUs are paused');
      case 'Unpause':
        if (this.#state === 'paused') await this.#act(({ domain }, options) => domain.resume(options));
        if (this.#state === 'suspended') await this.#act(({ domain }, options) => domain.pmWakeup(options));
        return this.#done(this.#state === 'off' ? 'it ended meanwhile' : 'its CPUs run');
      case 'SetUserPassword':
        return this.#setPassword();
      case 'SendKey':
        return this.#sendKey();
      case 'Save':
        return this.#save();
      default:
        throw new OperationFailedError('Unsupported', `the verb ${verb} is not done by this executor`);
    }
  }

  async #start(parameters: { paused?: boolean | undefined; discardSavedState?: boolean | undefined }): Promise<'over'> {
    const { status, wanted, notReady, now, options } = this.#context;
    const boot = this.#notes['newBoot'] ?? '';
    const { power } = status;
    if (power.boot === boot && power.bootStep === undefined) {
      return this.#done(this.#state === 'off' ? 'it was started, and ended meanwhile' : 'it runs');
    }
    const view = this.#view;
    if (power.boot !== boot && view !== undefined && view.state !== 'off' && view.state !== 'crashed') {
      return this.#done('it runs already');
    }
    if (view === undefined || wanted === undefined) {
      throw new OperationFailedError('LibvirtError', notReady?.message ?? 'its domain is not defined');
    }
    if (power.boot !== boot)
      await status.note({ power: beginStart(boot), printableStatus: 'Starting', failures: null });
    const start = { paused: parameters.paused === true, discardSavedState: parameters.discardSavedState === true };
    try {
      this.#view = await continueStart(view, status.power, start, {
        wanted,
        note: (notes) => status.note(notes),
        startedFor: status.machine.spec.runStrategy,
        boots: status.next.domain?.boots ?? 0,
        now,
        options,
      });
    } catch (error) {
      if (error instanceof LibvirtError) await status.note({ power: { bootStep: null } });
      throw error;
    }
    return this.#done(this.#view === undefined ? 'it was started, and ended meanwhile' : 'it runs');
  }

  async #stop(parameters: {
    force?: boolean | undefined;
    gracePeriodSeconds?: number | undefined;
  }): Promise<'next' | 'over' | number> {
    const { status, requests, now, options } = this.#context;
    const isRestart = this.operation.spec.verb === 'Restart';
    const view = this.#view;
    const { boot } = this.#notes;
    const isAnother = boot !== undefined && view?.boot !== undefined && view.boot.id !== boot;
    if (view !== undefined && view.state !== 'off' && !isAnother) {
      const begin = beginStop(status.power, now());
      if (begin !== undefined) await status.note({ power: begin, printableStatus: 'Stopping' });
      const seconds = parameters.gracePeriodSeconds ?? status.machine.spec.terminationGracePeriodSeconds ?? 60;
      // The grace period of this operation begins with it, also when somebody asked the guest before.
      const since = Date.parse(this.operation.status?.stepTime ?? '') || now();
      const progress = await continueStop(view, {
        requests,
        now: now(),
        since,
        graceMs: seconds * 1000,
        force: parameters.force === true,
        options,
      });
      if (!progress.isOff) return progress.requeueAfterMs;
      this.#view = await readDomain(view.domain, options);
    }
    if (!isRestart) return this.#done(isAnother ? 'it was stopped, and started again by somebody else' : 'it is off');
    if (status.power.stoppingSince !== undefined) await status.note({ power: { stoppingSince: null } });
    if (isAnother) return this.#done('it was restarted');
    await this.#write(this.#stepOf('Starting'));
    return 'next';
  }

  /** What is the same once or twice while the CPUs are paused. */
  async #whilePaused(act: (view: DomainView, options: LibvirtCallOptions) => Promise<void>): Promise<'next' | 'over'> {
    const wasPaused = this.#notes['state'] === 'paused';
    if (this.#hasEnded()) return this.#done('it ended meanwhile');
    switch (this.operation.status?.step) {
      case 'Suspending':
        if (!wasPaused && this.#state === 'running') await this.#act(({ domain }, options) => domain.suspend(options));
        await this.#write(this.#stepOf('Acting'));
        return 'next';
      case 'Acting':
        await this.#act(act);
        await this.#write(this.#stepOf('Resuming'));
        return 'next';
      default:
        if (!wasPaused && this.#state === 'paused') await this.#act(({ domain }, options) => domain.resume(options));
        return this.#done('done');
    }
  }

  async #softReboot(): Promise<'next' | 'over'> {
    const view = this.#view;
    const hasAcpi = memberAt(view?.live, 'features', 'acpi') !== undefined;
    return this.#whilePaused(({ domain }, options) =>
      // The button is pressed while the guest sleeps, and heard when it wakes. The agent would hear nothing.
      domain.reboot({ ...(hasAcpi ? { acpiPowerBtn: true } : {}), timeoutMs: options.timeoutMs }),
    );
  }

  async #setPassword(): Promise<'over'> {
    const { user = '', secretRef, encrypted } = this.operation.spec.setUserPassword ?? {};
    const { secrets, signal } = this.#context;
    const name = secretRef?.name ?? '';
    const key = secretRef?.key ?? 'password';
    const secret = await secrets.find({ namespace: this.operation.metadata.namespace, name }, { signal });
    const value = secret?.data?.[key];
    if (value === undefined) {
      throw new OperationFailedError('SecretNotFound', `there is no key "${key}" in a Secret "${name}"`);
    }
    if (!hasAgentChannel(this.#view?.live)) {
      throw new OperationFailedError('AgentUnavailable', 'the machine has no channel for the guest agent');
    }
    const password = Buffer.from(value, 'base64')
      .toString('utf8')
      .replace(/\r?\n$/, '');
    await this.#act(({ domain }, options) =>
      domain.guest.setUserPassword(user, password, { encrypted: encrypted === true, ...options }),
    );
    return this.#done(`the password of ${user} was set`);
  }

  async #sendKey(): Promise<'over'> {
    if (this.#isRepeat) {
      throw new OperationFailedError('OutcomeUnknown', 'cut off: it is not known whether the keys were sent');
    }
    const { keys = [], codeSet = 'linux', holdMilliseconds = 100 } = this.operation.spec.sendKey ?? {};
    const codes = keyCodes(keys, codeSet);
    if (typeof codes === 'string') throw new OperationFailedError('Unsupported', codes);
    await this.#act(({ domain }, options) =>
      domain.sendKey(codes, { codeset: codeSet, holdMs: holdMilliseconds, ...options }),
    );
    return this.#done('the keys were sent');
  }

  async #save(): Promise<'over' | number> {
    const { status, options } = this.#context;
    const view = this.#view;
    if (view === undefined || view.state === 'off') {
      if (view?.hasManagedSave !== true) {
        await status.note({ power: { held: null } });
        throw new OperationFailedError('NotRunning', 'it ended before it was saved');
      }
      await status.note({ power: { held: true } });
      return this.#done('it is saved');
    }
    // Before it goes off: the run strategy must not start it again.
    await status.note({ power: { held: true }, printableStatus: 'Stopping' });
    const { bypassCache } = this.operation.spec.save ?? {};
    try {
      await view.domain.managedSave({ bypassCache, ...options, timeoutMs: saveTimeoutMs });
    } catch (error) {
      if (error instanceof LibvirtError && !isInvalidState(error)) await status.note({ power: { held: null } });
      throw error;
    }
    this.#view = await readDomain(view.domain, options);
    return this.#done('it is saved');
  }

  /** Whether the boot that it was asked of is over. */
  #hasEnded(): boolean {
    const { boot } = this.#notes;
    if (this.#state === 'off') return true;
    return boot !== undefined && this.#view?.boot !== undefined && this.#view.boot.id !== boot;
  }

  async #act(act: (view: DomainView, options: LibvirtCallOptions) => Promise<void>): Promise<void> {
    const view = this.#view;
    if (view === undefined) throw new OperationFailedError('NotRunning', 'the machine is not running');
    await act(view, this.#context.options);
    this.#view = await readDomain(view.domain, this.#context.options);
  }

  #stepOf(step: string, context: Readonly<Record<string, string>> = this.#notes): Partial<OperationStatus> {
    return { step, stepTime: toKubernetesTime(this.#context.now()), context };
  }

  async #done(message: string): Promise<'over'> {
    await this.end('Succeeded', 'Done', message);
    return 'over';
  }

  async end(phase: 'Succeeded' | 'Failed', reason: string, message: string): Promise<void> {
    const at = toKubernetesTime(this.#context.now());
    const observedGeneration = this.operation.metadata.generation;
    const condition = {
      type: phase === 'Succeeded' ? 'Complete' : 'Failed',
      status: 'True' as const,
      lastTransitionTime: at,
      reason,
      message: message.slice(0, 1024),
      ...(observedGeneration === undefined ? {} : { observedGeneration }),
    };
    await this.#write({ phase, completionTime: at, reason, message, conditions: [condition] });
  }

  async #write(status: Partial<OperationStatus>): Promise<void> {
    const { namespace, name = '', uid, generation } = this.operation.metadata;
    const patch = { metadata: { uid }, status: { observedGeneration: generation, ...status } };
    this.operation = await this.#context.operations.mergePatch({ namespace, name }, patch, {
      subresource: 'status',
      signal: this.#context.signal,
    });
  }
}

/** Memory goes to disk; as long as a reconcile may take. */
const saveTimeoutMs = 110_000;

/** Whether an operation is over. */
export function isOver(operation: VirtualMachineOperation): boolean {
  return operation.status?.phase === 'Succeeded' || operation.status?.phase === 'Failed';
}

/** Why an operation failed, in one line for an Event. */
export function outcome(operation: VirtualMachineOperation): string {
  const { spec, status } = operation;
  return `${spec.verb} ${status?.phase ?? ''}: ${status?.message ?? toError(undefined).message}`;
}
