/**
 * A machine's status during one reconcile: what is stored, what was found out, and the notes that are stored at once.
 * Nobody else writes it while the machine is on this node, except the scheduler its condition.
 */
import { mergePatchOf } from '../status-patch.ts';
import type { PowerNotes } from './power.ts';
import type {
  PrintableStatus,
  virtualMachineConditions,
  virtualMachineReasons,
  VirtualMachine,
  VirtualMachineStatus,
} from '../../api/virtual-machine.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { setCondition } from '../../reconcile/conditions.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Notes to store; null removes. */
export interface StatusNotes {
  readonly power?: undefined | { readonly [K in keyof PowerNotes]?: PowerNotes[K] | null };
  readonly domain?:
    | undefined
    | {
        readonly [K in keyof NonNullable<VirtualMachineStatus['domain']>]?:
          NonNullable<VirtualMachineStatus['domain']>[K] | null;
      };
  readonly failures?: VirtualMachineStatus['failures'] | null;
  readonly lastStop?: VirtualMachineStatus['lastStop'];
  readonly printableStatus?: PrintableStatus;
}

/** See the head of this file. */
export class MachineStatus {
  readonly #client: ResourceClient<VirtualMachine>;
  readonly #now: () => number;
  readonly #signal: AbortSignal;
  #machine: VirtualMachine;
  #next: Mutable<VirtualMachineStatus>;

  constructor(client: ResourceClient<VirtualMachine>, machine: VirtualMachine, now: () => number, signal: AbortSignal) {
    this.#client = client;
    this.#now = now;
    this.#signal = signal;
    this.#machine = machine;
    this.#next = { ...machine.status };
  }

  /** The machine as it was read, its generation included, with the notes that were stored since. */
  get machine(): VirtualMachine {
    return this.#machine;
  }

  /** What will be written. */
  get next(): Mutable<VirtualMachineStatus> {
    return this.#next;
  }

  get power(): PowerNotes {
    return this.#next.power ?? {};
  }

  /**
   * Stores notes before the step that they announce, and with them what was found out about how the last run ended: after
   * the step it could not be seen any more. Without anything to store nothing is written.
   */
  async note(notes: StatusNotes): Promise<void> {
    const pending = mergePatchOf(partOf(this.#machine.status), partOf(this.#next)) ?? {};
    const body: Record<string, unknown> = mergePatchOf(undefined, { ...pending, ...notes }) ?? {};
    for (const key of ['power', 'domain'] as const) {
      const [found, noted] = [pending[key], notes[key]];
      if (noted !== undefined && typeof found === 'object') body[key] = { ...found, ...noted };
    }
    if (Object.keys(body).length === 0) return;
    const stored = await this.#patch(body);
    this.#take(stored);
    this.#next = { ...this.#next };
    const { power, domain, failures, lastStop, printableStatus } = stored.status ?? {};
    const next = this.#next;
    assign(next, 'power', power);
    if (body['domain'] !== undefined) assign(next, 'domain', domain);
    if (body['failures'] !== undefined) assign(next, 'failures', failures);
    if (body['lastStop'] !== undefined) assign(next, 'lastStop', lastStop);
    if (body['printableStatus'] !== undefined) assign(next, 'printableStatus', printableStatus);
  }

  /** Sets a condition in what will be written. */
  condition(
    type: keyof typeof virtualMachineConditions,
    status: boolean | 'Unknown',
    reason: keyof typeof virtualMachineReasons,
    message = '',
  ): void {
    const observedGeneration = this.#machine.metadata.generation;
    // Against what is stored: a condition that is set twice in a reconcile has not changed in between.
    const stored = this.#machine.status?.conditions?.find((one) => one.type === type);
    const list = (this.#next.conditions ?? []).flatMap((one) =>
      one.type !== type ? [one] : stored === undefined ? [] : [stored],
    );
    this.#next.conditions = [...setCondition(list, { type, status, reason, message, observedGeneration }, this.#now())];
  }

  /**
   * Writes what was found out, if anything changed.
   *
   * @returns Whether something was written.
   */
  async write(): Promise<boolean> {
    const patch = mergePatchOf(this.#machine.status, this.#next);
    if (patch === undefined) return false;
    const stored = await this.#patch(patch);
    this.#take(stored);
    return true;
  }

  /**
   * The stored object, but of the spec that was read: its generation too, else a newer spec would be told as observed.
   * What somebody else wrote meanwhile (`virtctl recover`, the other node of a migration) and this reconcile has not
   * changed is what will be written: else the next write would take it back.
   */
  #take({ metadata, status }: VirtualMachine): void {
    const before = this.#machine.status;
    const { generation } = this.#machine.metadata;
    this.#machine = { ...this.#machine, metadata: { ...metadata, generation }, status };
    this.#next = { ...this.#next };
    for (const key of keysOf({ ...before, ...status })) {
      if (this.#next[key] === before?.[key]) assign(this.#next, key, status?.[key]);
    }
  }

  #patch(status: object): Promise<VirtualMachine> {
    const { namespace, name = '', uid } = this.#machine.metadata;
    // The UID makes it a conflict when the object was deleted and made anew.
    const body = { metadata: { uid }, status };
    return this.#client.mergePatch({ namespace, name }, body, { subresource: 'status', signal: this.#signal });
  }
}

function keysOf(status: VirtualMachineStatus): (keyof VirtualMachineStatus)[] {
  return Object.keys(status) as (keyof VirtualMachineStatus)[];
}

/** What belongs to the end of a run: it is stored together. */
function partOf({ power, domain, failures, lastStop }: VirtualMachineStatus = {}): Record<string, unknown> {
  return { power, domain, failures, lastStop };
}

function assign<K extends keyof VirtualMachineStatus>(
  target: Mutable<VirtualMachineStatus>,
  key: K,
  value: VirtualMachineStatus[K],
): void {
  if (value === undefined) Reflect.deleteProperty(target, key);
  else target[key] = value;
}
