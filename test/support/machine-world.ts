/**
 * One machine, its operations and its domain, all in memory, and the reconciler between them: for tests of what happens when
 * a write or a call fails at a certain moment. The domain counts how often its guest booted from nothing (`boots`) and how
 * often it was powered off while its memory was worth something (`powerCuts`).
 */
import { ManualClock } from './manual-clock.ts';
import type { VirtualMachineOperation } from '../../src/api/virtual-machine-operation.ts';
import type { RunStrategy, VirtualMachine, VirtualMachineStatus } from '../../src/api/virtual-machine.ts';
import { toError } from '../../src/base/errors.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { FileHolds } from '../../src/executor/virtual-disk/file-holds.ts';
import { machineFinalizer } from '../../src/executor/virtual-machine/delete-machine.ts';
import { MachineReconciler } from '../../src/executor/virtual-machine/reconciler.ts';
import type { MachineReconcilerOptions } from '../../src/executor/virtual-machine/round.ts';
import { ErrorNumber } from '../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../src/libvirt/errors.ts';
import type { DomainStateAndReason } from '../../src/libvirt/objects/domain-state.ts';
import type { ReconcileResult } from '../../src/reconcile/controller.ts';

/** The machine's uid, and its domain's UUID. */
export const machineUid = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';

/** An error as libvirt gives it. */
export function libvirtError(code: number, message: string): LibvirtError {
  return new LibvirtError('domainCall', {
    ...{ code, domain: 10, message, level: 2 },
    ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
  });
}

const notRunning = (): LibvirtError =>
  libvirtError(ErrorNumber.OPERATION_INVALID, 'Requested operation is not valid: domain is not running');

/** A fault: thrown before or after a write or call is done. */
export type Fault = (call: string, when: 'before' | 'after') => void;

/** A domain of libvirt's test driver, near enough. */
export class WorldDomain {
  name = 'shop.web';
  readonly uuid = machineUid;
  isDefined = false;
  is: DomainStateAndReason = { state: 'shutoff', reason: 'unknown' };
  /** Its guest's first instruction was executed, so its memory is worth something. */
  hasExecuted = false;
  hasSave = false;
  boots = 0;
  powerCuts = 0;
  /** How often the guest was asked to shut down. */
  asked = 0;
  obeys = true;
  /** Called at each step. */
  fault: Fault = () => undefined;
  /** Number of changes of state, each of which libvirt tells as an event. */
  changes = 0;
  #id = 0;
  #definition = '';
  #running: string | undefined;
  #marks = new Map<string, string>();
  #liveMarks = new Map<string, string>();
  #saved: { readonly xml: string; readonly marks: Map<string, string> } | undefined;

  /** As somebody else's hand does it. */
  become(is: DomainStateAndReason): void {
    this.is = is;
    this.changes += 1;
    if (is.state !== 'shutoff') return;
    this.#running = undefined;
    this.hasExecuted = false;
  }

  define(xml: string): void {
    const [whole = '', inner = ''] = /<metadata>([\s\S]*?)<\/metadata>/.exec(xml) ?? [];
    this.#definition = xml.replace(whole, '');
    this.#marks = new Map(inner === '' ? [] : [['https://virtctl.dev/domain/1', inner]]);
    this.isDefined = true;
  }

  /** Changes the definition, or the running domain, behind everybody's back. */
  meddle(where: 'definition' | 'running', change: (xml: string) => string): void {
    if (where === 'definition') this.#definition = change(this.#definition);
    else if (this.#running !== undefined) this.#running = change(this.#running);
  }

  readonly state = (): Promise<DomainStateAndReason> => Promise.resolve(this.is);
  readonly isPersistent = (): Promise<boolean> => Promise.resolve(true);
  readonly isActive = (): Promise<boolean> => Promise.resolve(this.is.state !== 'shutoff');
  readonly hasManagedSave = (): Promise<boolean> => Promise.resolve(this.hasSave);

  readonly xml = ({ inactive = false } = {}): Promise<string> => {
    const isLive = !inactive && this.#running !== undefined;
    const marks = [...(isLive ? this.#liveMarks : this.#marks).values()].join('');
    const text = isLive ? (this.#running ?? '').replace(/<domain /, `<domain id='${this.#id}' `) : this.#definition;
    return Promise.resolve(text.replace(/(<domain[^>]*>)/, `$1<metadata>${marks}</metadata>`));
  };

  readonly start = ({ paused = false, forceBoot = false } = {}): Promise<void> =>
    this.#call('start', () => {
      if (this.is.state !== 'shutoff') {
        throw libvirtError(
          ErrorNumber.OPERATION_INVALID,
          'Requested operation is not valid: domain is already running',
        );
      }
      const saved = forceBoot ? undefined : this.#saved;
      this.#running = saved?.xml ?? this.#definition;
      this.#liveMarks = new Map(saved?.marks ?? this.#marks);
      this.#saved = undefined;
      this.hasSave = false;
      this.#id += 1;
      this.become({ state: 'paused', reason: 'user' });
      this.hasExecuted = saved !== undefined;
      if (!paused) this.#run();
    });

  readonly resume = (): Promise<void> =>
    this.#call('resume', () => {
      if (this.is.state !== 'paused') throw notRunning();
      this.#run();
    });

  readonly undefine = (): Promise<void> => this.#call('undefine', () => void (this.isDefined = false));

  readonly rename = (name: string): Promise<void> =>
    this.#call('rename', () => {
      if (this.is.state !== 'shutoff') throw libvirtError(ErrorNumber.OPERATION_INVALID, 'cannot rename active domain');
      this.#definition = this.#definition.replace(/<name>[^<]*</, `<name>${name}<`);
      this.name = name;
    });

  readonly reset = (): Promise<void> => this.#call('reset', () => undefined);

  readonly suspend = (): Promise<void> => this.#call('suspend', () => this.become({ state: 'paused', reason: 'user' }));

  readonly destroy = (): Promise<void> =>
    this.#call('destroy', () => {
      if (this.is.state === 'shutoff') throw notRunning();
      if (this.hasExecuted && this.is.state !== 'crashed') this.powerCuts += 1;
      this.become({ state: 'shutoff', reason: 'destroyed' });
    });

  readonly shutdown = (): Promise<void> =>
    this.#call('shutdown', () => {
      if (this.is.state === 'shutoff') throw notRunning();
      this.asked += 1;
      if (this.obeys && this.is.state === 'running') this.become({ state: 'shutoff', reason: 'shutdown' });
    });

  readonly managedSave = (): Promise<void> =>
    this.#call('managedSave', () => {
      if (this.is.state === 'shutoff') throw notRunning();
      this.#saved = { xml: this.#running ?? '', marks: new Map(this.#liveMarks) };
      this.hasSave = true;
      this.become({ state: 'shutoff', reason: 'saved' });
    });

  readonly setMetadata = (xml: string | null, { type = 'element', uri = '', live = false } = {}): Promise<void> =>
    this.#call('setMetadata', () => {
      if (live && this.is.state === 'shutoff') throw notRunning();
      if (type !== 'element') {
        const element = new RegExp(`<${type}>[^<]*</${type}>`);
        this.meddle(live ? 'running' : 'definition', (whole) =>
          whole.replace(element, `<${type}>${xml ?? ''}</${type}>`),
        );
        return;
      }
      const marks = live ? this.#liveMarks : this.#marks;
      if (xml === null) marks.delete(uri);
      else marks.set(uri, xml.replace(/^<([a-z]+)/, `<$1 xmlns='${uri}'`));
    });

  #run(): void {
    if (!this.hasExecuted) this.boots += 1;
    this.hasExecuted = true;
    this.become({ state: 'running', reason: 'booted' });
  }

  #call(name: string, act: () => void): Promise<void> {
    try {
      this.fault(name, 'before');
      act();
      this.fault(name, 'after');
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(toError(error));
    }
  }
}

type Json = Readonly<Record<string, unknown>>;

/** RFC 7386. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const out: Record<string, unknown> =
    typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...(target as Json) } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(out, key);
    else if (value !== undefined) out[key] = merged(out[key], value);
  }
  return out;
}

/** See the head of this file. */
export class MachineWorld {
  readonly clock = new ManualClock();
  readonly domain = new WorldDomain();
  /** Domains that were defined beside it. */
  readonly others: WorldDomain[] = [];
  readonly events: { reason: string; note: string }[] = [];
  readonly operations = new Map<string, VirtualMachineOperation>();
  /** The names of operations as the executor's cache has them; those of all, when undefined. */
  known: readonly string[] | undefined;
  machine: VirtualMachine;
  #fault: Fault = () => undefined;
  #reconciler: MachineReconciler;
  #ids = 0;
  #bodies = 0;

  constructor(runStrategy: RunStrategy, spec: Partial<VirtualMachine['spec']> = {}) {
    this.machine = {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name: 'web', namespace: 'shop', uid: machineUid, generation: 1, finalizers: [machineFinalizer] },
      spec: { nodeName: 'node-1', runStrategy, domain: { type: 'test' }, ...spec },
    };
    this.#reconciler = this.#executor();
  }

  get status(): VirtualMachineStatus {
    return this.machine.status ?? {};
  }

  /** What fails from now on; nothing when left out. */
  fail(fault: Fault = () => undefined): void {
    this.#fault = fault;
    this.domain.fault = fault;
  }

  /**
   * Rounds until the executor is killed at a call's n-th time (any call's for `*`): nothing that it does from there on
   * happens. Then it is started again.
   *
   * @returns Whether it came to that.
   */
  async killedAt(call: string, when: 'before' | 'after', nth = 1): Promise<boolean> {
    const executor = { calls: 0, isDead: false };
    this.fail((name, at) => {
      if ((call === '*' || name === call) && at === when) executor.calls += 1;
      executor.isDead ||= executor.calls === nth;
      if (executor.isDead) throw new Error('killed');
    });
    for (let turn = 0; turn < 20 && !executor.isDead; turn += 1) {
      const result = await this.reconcile().catch(() => undefined);
      await this.clock.advance(result?.requeueAfterMs ?? 0);
    }
    this.restartExecutor();
    return executor.isDead;
  }

  /** Changes the spec, as a user does. */
  change(spec: Partial<VirtualMachine['spec']>): void {
    const { metadata } = this.machine;
    this.machine = {
      ...this.machine,
      metadata: { ...metadata, generation: (metadata.generation ?? 0) + 1 },
      spec: { ...this.machine.spec, ...spec },
    };
  }

  /** Creates an operation. */
  ask(name: string, verb: VirtualMachineOperation['spec']['verb'], more: object = {}): void {
    this.operations.set(name, {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineOperation',
      metadata: { name, namespace: 'shop', uid: name, creationTimestamp: new Date(this.clock.now()).toISOString() },
      spec: { virtualMachine: 'web', verb, ...more },
    });
  }

  operation(name: string): NonNullable<VirtualMachineOperation['status']> | undefined {
    return this.operations.get(name)?.status;
  }

  /** The executor is killed and started again. */
  restartExecutor(): void {
    this.fail();
    this.#reconciler = this.#executor();
  }

  /** One round. */
  async reconcile(): Promise<ReconcileResult | undefined> {
    return this.#reconciler.reconcile('shop/web', { signal: new AbortController().signal, logger: silentLogger });
  }

  /**
   * Rounds as the controller makes them: again after an error, after a change of the domain, and when a round asks for it;
   * until nothing asks any more, or for so many rounds.
   */
  async quiesce(rounds = 40): Promise<void> {
    for (let turn = 0; turn < rounds; turn += 1) {
      const { changes } = this.domain;
      let again: number | undefined;
      try {
        again = (await this.reconcile())?.requeueAfterMs;
      } catch {
        again = 1_000;
      }
      if (this.domain.changes !== changes) continue;
      if (again === undefined) return;
      await this.clock.advance(again);
    }
  }

  #executor(): MachineReconciler {
    return new MachineReconciler({
      nodeName: 'node-1',
      machines: {
        find: () => Promise.resolve(structuredClone(this.machine)),
        mergePatch: (_ref: unknown, body: { status?: object; metadata?: object }) =>
          this.#write('status', () => {
            const status = merged(this.machine.status ?? {}, body.status ?? {}) as VirtualMachineStatus;
            this.#bodies += 1;
            const sent = { ...body.metadata, resourceVersion: String(this.#bodies) };
            const metadata = { ...this.machine.metadata, ...sent };
            this.machine = { ...this.machine, metadata, status };
            return structuredClone(this.machine);
          }),
      },
      operations: {
        find: ({ name }: { name: string }) => Promise.resolve(structuredClone(this.operations.get(name))),
        mergePatch: ({ name }: { name: string }, body: { status?: object }) =>
          this.#write('operation', () => {
            const before = this.operations.get(name);
            if (before === undefined) throw new Error(`there is no operation ${name}`);
            const after = {
              ...before,
              status: merged(before.status ?? {}, body.status ?? {}),
            } as VirtualMachineOperation;
            this.operations.set(name, after);
            return structuredClone(after);
          }),
      },
      openOperations: () =>
        this.known ??
        [...this.operations]
          .filter(([, { status }]) => status?.phase !== 'Succeeded' && status?.phase !== 'Failed')
          .map(([name]) => name),
      disks: { find: () => Promise.resolve(undefined) },
      snapshots: {
        keep: () => Promise.resolve(false),
        release: () => Promise.resolve(true),
        context: { namesOf: () => [] },
      },
      media: { prune: () => Promise.resolve(), remove: () => Promise.resolve() },
      fileHolds: new FileHolds(),
      libvirt: () => ({
        domains: {
          byUuid: (uuid: string) => this.#found(uuid === this.domain.uuid),
          byName: (name: string) => this.#found(name === this.domain.name),
          defineXml: (xml: string) => this.#define(xml),
        },
      }),
      traits: () => ({ arch: 'x86_64', nativeType: 'test', emulate: false, kvmUsable: true, kvmMessage: '' }),
      record: ({ reason, note }: { reason: string; note: string }) => void this.events.push({ reason, note }),
      clock: this.clock,
      newId: () => `boot-${(this.#ids += 1)}`,
    } as unknown as MachineReconcilerOptions);
  }

  /** As libvirt: of another UUID it is another domain, unless it has the name of one. */
  #define(xml: string): Promise<WorldDomain> {
    const [name, uuid] = ['name', 'uuid'].map((key) => new RegExp(`<${key}>([^<]*)<`).exec(xml)?.[1]);
    if (uuid === this.domain.uuid) {
      this.domain.define(xml);
      return Promise.resolve(this.domain);
    }
    const what = `operation failed: domain '${name ?? ''}' already exists with uuid ${this.domain.uuid}`;
    if (name === this.domain.name) return Promise.reject(libvirtError(ErrorNumber.OPERATION_FAILED, what));
    const second = new WorldDomain();
    second.name = name ?? '';
    second.define(xml);
    this.others.push(second);
    return Promise.resolve(second);
  }

  #found(isIt: boolean): Promise<WorldDomain> {
    const { domain } = this;
    if (domain.isDefined && isIt) return Promise.resolve(domain);
    return Promise.reject(libvirtError(ErrorNumber.NO_DOMAIN, 'Domain not found'));
  }

  #write<T>(what: string, store: () => T): Promise<T> {
    try {
      this.#fault(what, 'before');
      const stored = store();
      this.#fault(what, 'after');
      return Promise.resolve(stored);
    } catch (error) {
      return Promise.reject(toError(error));
    }
  }
}
