/**
 * One operation while it is worked on: what the verbs (verbs/*.ts) read, do and write. Every write goes to the operation's
 * status before what it announces begins.
 */
import type { RunningMigrations } from '../migration/running-migrations.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { virtualMachineOperationReasons } from '../../api/virtual-machine-operation.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { FailedError } from '../../base/errors.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import type { FileHold } from '../virtual-disk/file-holds.ts';
import { readDomain, type DomainView, type LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import type { MachineStatus } from '../virtual-machine/machine-status.ts';
import type { ShutdownRequests } from '../virtual-machine/power.ts';
import type { DataObject } from '../virtual-machine/same-value.ts';
import type { SecretObject } from '../virtual-machine/volumes.ts';
import type { RevertContext } from '../virtual-machine-snapshot/revert-context.ts';

/** Why an operation ended. */
export type OperationReason = keyof typeof virtualMachineOperationReasons;

type OperationStatus = NonNullable<VirtualMachineOperation['status']>;

/** The operation cannot be done: it ends as Failed. */
export class OperationFailedError extends FailedError {
  override readonly code: OperationReason | 'OutcomeUnknown';

  constructor(code: OperationReason | 'OutcomeUnknown', message: string) {
    super(message);
    this.code = code;
  }
}

/** What an operation works with. */
export interface OperationContext {
  readonly machines: ResourceClient<VirtualMachine>;
  readonly disks: ResourceClient<VirtualDisk>;
  readonly migrations: RunningMigrations;
  readonly operations: ResourceClient<VirtualMachineOperation>;
  readonly secrets: ResourceClient<SecretObject>;
  readonly status: MachineStatus;
  readonly requests: ShutdownRequests;
  /** What the verb Revert needs. */
  readonly revert: RevertContext;
  /** The domain as asked for; undefined while something that it needs is not there. */
  readonly wanted: DataObject | undefined;
  /** Why it is undefined. */
  readonly notReady: Error | undefined;
  /** What lasts one run of the machine is new for the next; see renew-volumes.ts. */
  readonly renewVolumes: (view: DomainView) => Promise<void>;
  /** Finds out how the run ended that the operation brought to its end; it is stored with the next note. */
  readonly noticeEnd: (view: DomainView | undefined) => void;
  /** Keeps others from the files of its disks while it is started. */
  readonly holdFiles: () => FileHold;
  readonly nodeName: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly newId: () => string;
  readonly options: LibvirtCallOptions;
  readonly signal: AbortSignal;
}

/** How a step of a verb ended: go on with the next, the operation is over, or look again after so many milliseconds. */
export type StepProgress = 'next' | 'over' | number;

/** See the head of this file. */
export class OperationRun {
  operation: VirtualMachineOperation;
  /** The domain as last read; undefined while there is none. */
  view: DomainView | undefined;
  readonly context: OperationContext;
  /** Whether the step that goes on was begun by an executor before this one, or in an earlier reconcile. */
  isRepeat: boolean;

  constructor(operation: VirtualMachineOperation, view: DomainView | undefined, context: OperationContext) {
    this.operation = operation;
    this.view = view;
    this.context = context;
    this.isRepeat = operation.status?.phase === 'Running';
  }

  get state(): DomainView['state'] {
    return this.view?.state ?? 'off';
  }

  /** The name of the step that is being done. */
  get step(): string | undefined {
    return this.operation.status?.step;
  }

  /** What was noted when it began, and since. */
  get notes(): Readonly<Record<string, string>> {
    return this.operation.status?.context ?? {};
  }

  /** Whether the boot that it was asked of is over. */
  get hasEnded(): boolean {
    const { boot } = this.notes;
    if (this.state === 'off') return true;
    return boot !== undefined && this.view?.boot !== undefined && this.view.boot.id !== boot;
  }

  /** Does something to the domain, and reads it again. */
  async act(act: (view: DomainView, options: LibvirtCallOptions) => Promise<void>): Promise<void> {
    const view = this.view;
    if (view === undefined) throw new OperationFailedError('NotRunning', 'the machine is not running');
    await act(view, this.context.options);
    this.view = await readDomain(view.domain, this.context.options);
  }

  /** Notes the step that comes next, before it begins. */
  async goTo(step: string, notes: Readonly<Record<string, string>> = this.notes): Promise<'next'> {
    await this.write(this.stepOf(step, notes));
    return 'next';
  }

  /** What {@link goTo} writes. */
  stepOf(step: string, notes: Readonly<Record<string, string>> = this.notes): Partial<OperationStatus> {
    return { step, stepTime: toKubernetesTime(this.context.now()), context: notes };
  }

  /** It succeeded. */
  async done(message: string): Promise<'over'> {
    await this.end('Succeeded', 'Done', message);
    return 'over';
  }

  async end(phase: 'Succeeded' | 'Failed', reason: string, message: string): Promise<void> {
    const at = toKubernetesTime(this.context.now());
    const observedGeneration = this.operation.metadata.generation;
    const condition = {
      type: phase === 'Succeeded' ? 'Complete' : 'Failed',
      status: 'True' as const,
      lastTransitionTime: at,
      reason,
      message: message.slice(0, 1024),
      ...(observedGeneration === undefined ? {} : { observedGeneration }),
    };
    await this.write({ phase, completionTime: at, reason, message, conditions: [condition] });
  }

  /** @param status What is null is taken out. */
  async write(status: { readonly [K in keyof OperationStatus]?: OperationStatus[K] | null }): Promise<void> {
    const { namespace, name = '', uid, generation } = this.operation.metadata;
    const patch = { metadata: { uid }, status: { observedGeneration: generation, ...status } };
    this.operation = await this.context.operations.mergePatch({ namespace, name }, patch, {
      subresource: 'status',
      signal: this.context.signal,
    });
  }
}
