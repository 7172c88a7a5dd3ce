import { accumulate, type Amounts } from './amounts.ts';
import { allocationAnnotation, maxAllocationLength, parseAllocation, type Allocation } from './allocation.ts';
import type { Labels } from './label-match.ts';
import type { MachineInfo } from './machine-info.ts';
import { findCondition } from '../api/meta.ts';
import { overcommitDefaults, type Hypervisor, type HypervisorStatus } from '../api/hypervisor.ts';
import { formatBytes, parseQuantity } from '../api/quantity.ts';
import type { Taint } from '../api/scheduling.ts';

type DomainCapabilities = NonNullable<HypervisorStatus['domainCapabilities']>[number];

/** What a node offers for one architecture and domain type. */
export interface Capability {
  readonly arch: string;
  readonly domainType: string;
  readonly machineTypes: ReadonlySet<string>;
  readonly cpuModels: ReadonlySet<string>;
  /** Undefined when they are not known. */
  readonly cpuFeatures: ReadonlySet<string> | undefined;
  readonly maxVcpus: number;
  readonly firmware: readonly string[] | undefined;
  readonly secureBoot: boolean | undefined;
  readonly devices: Readonly<Record<string, readonly string[]>>;
}

/** What the scheduler reads from a Hypervisor; the same object as long as none of it changes. */
export interface NodeTraits {
  readonly labels: Labels;
  readonly taints: readonly Taint[];
  readonly unschedulable: boolean;
  /** Why no machine is placed there, for the condition Ready; undefined when it is ready. */
  readonly notReady: string | undefined;
  readonly allocatable: Amounts | undefined;
  /** How many times CPUs and memory are given away. */
  readonly overcommit: Amounts;
  readonly arch: string;
  readonly capabilities: readonly Capability[];
  readonly kvmUsable: boolean;
  readonly allowEmulation: boolean;
  readonly pools: ReadonlyMap<string, boolean> | undefined;
  readonly networks: ReadonlySet<string> | undefined;
  readonly bridges: ReadonlySet<string> | undefined;
  readonly hostDevices: NonNullable<HypervisorStatus['hostDevices']> | undefined;
}

/** A node, with what is placed on it. */
export class NodeInfo {
  readonly name: string;
  /** Machines that are bound here, or assumed to be, by UID. */
  readonly machines = new Map<string, MachineInfo>();
  hypervisor: Hypervisor;
  traits: NodeTraits;
  allocation: Allocation;
  /** What pods of a kubelet on the same host request. */
  pods: Amounts = {};
  /** Entries of the object that had this name before, until they are written into this one. */
  #inherited: Allocation = new Map();
  #fingerprint: string;
  #used: Amounts | undefined;
  readonly #isGone: (uid: string) => boolean;

  /** @param isGone Whether a machine that the allocation names was deleted. */
  constructor(hypervisor: Hypervisor, isGone: (uid: string) => boolean) {
    this.name = hypervisor.metadata.name ?? '';
    this.hypervisor = hypervisor;
    this.#fingerprint = fingerprint(hypervisor);
    this.traits = readTraits(hypervisor);
    this.allocation = parseAllocation(hypervisor.metadata.annotations);
    this.#isGone = isGone;
  }

  /** Takes a newer object over; says whether anything but the allocation changed. */
  update(hypervisor: Hypervisor): boolean {
    this.hypervisor = hypervisor;
    this.allocation = this.#withInherited(parseAllocation(hypervisor.metadata.annotations));
    this.#used = undefined;
    const next = fingerprint(hypervisor);
    if (next === this.#fingerprint) return false;
    this.#fingerprint = next;
    this.traits = readTraits(hypervisor);
    return true;
  }

  get inherited(): Allocation {
    return this.#inherited;
  }

  /** Takes over what was reserved on the object that had this name before. */
  inherit(entries: Allocation): void {
    this.#inherited = new Map([...this.#inherited, ...entries]);
    this.allocation = this.#withInherited(this.allocation);
    this.#used = undefined;
  }

  /** Inherited entries were written into this object, or found to be dead. */
  disinherit(entries: Allocation): void {
    if (entries.size === 0) return;
    this.#inherited = new Map([...this.#inherited].filter(([uid, entry]) => entries.get(uid) !== entry));
  }

  #withInherited(own: Allocation): Allocation {
    return this.#inherited.size === 0 ? own : new Map([...this.#inherited, ...own]);
  }

  /** What is placed changed. */
  touch(): void {
    this.#used = undefined;
  }

  /**
   * What is taken: by machines here, by reservations of others, and by pods. A reservation counts also when its machine
   * is known to be elsewhere: what is known may be old, and whoever is sure takes the entry out.
   */
  get used(): Amounts {
    if (this.#used !== undefined) return this.#used;
    const sum: Record<string, number> = {};
    // Pods get what they ask for in full; only what is left of the CPUs is given to machines several times.
    for (const [name, amount] of Object.entries(this.pods)) sum[name] = amount * (this.traits.overcommit[name] ?? 1);
    for (const { requests } of this.machines.values()) accumulate(sum, requests);
    for (const [uid, { requests }] of this.allocation) if (this.counts(uid)) accumulate(sum, requests);
    this.#used = sum;
    return sum;
  }

  /** Whether the reservation of a machine counts beside the machines here. */
  counts(uid: string): boolean {
    return this.allocation.has(uid) && !this.machines.has(uid) && !this.#isGone(uid);
  }

  /** What is free of a resource, for a machine whose own place here does not stand in its way. */
  free(resource: string, uid: string): number {
    const own = this.machines.get(uid) ?? (this.counts(uid) ? this.allocation.get(uid) : undefined);
    return this.capacity(resource) - (this.used[resource] ?? 0) + (own?.requests[resource] ?? 0);
  }

  /** Whether the allocation has room for one more entry. */
  get canNote(): boolean {
    return (this.hypervisor.metadata.annotations?.[allocationAnnotation]?.length ?? 0) < maxAllocationLength;
  }

  /** How much of a resource machines may have in all. */
  capacity(resource: string): number {
    const told = this.traits.allocatable?.[resource];
    if (told !== undefined) return told;
    if (resource.startsWith('device/')) return 1;
    return resource === 'domains' ? Infinity : 0;
  }
}

function fingerprint({ metadata, spec, status }: Hypervisor): string {
  const conditions = (status?.conditions ?? []).map(({ type, status, message }) => [type, status, message]);
  const { domains: _d, lastHeartbeatTime: _h, allocated: _a, conditions: _c, ...rest } = status ?? {};
  const pools = status?.pools?.map(({ name, active }) => [name, active]);
  return JSON.stringify([metadata.labels, spec, conditions, { ...rest, pools }]);
}

function readTraits({ metadata, spec, status }: Hypervisor): NodeTraits {
  const ready = findCondition(status, 'Ready');
  const given = (spec as Hypervisor['spec'] | undefined) ?? {};
  const names = (list: readonly { readonly name: string }[] | undefined): ReadonlySet<string> | undefined =>
    list === undefined ? undefined : new Set(list.map(({ name }) => name));
  return {
    labels: metadata.labels ?? {},
    taints: given.taints ?? [],
    unschedulable: given.unschedulable === true,
    notReady: ready?.status === 'True' ? undefined : ready?.status === 'Unknown' ? 'not heard of' : 'not ready',
    allocatable: readAmounts(status),
    overcommit: {
      cpu: (given.overcommit?.cpuPercent ?? overcommitDefaults.cpuPercent) / 100,
      memory: (given.overcommit?.memoryPercent ?? overcommitDefaults.memoryPercent) / 100,
    },
    arch: status?.nodeInfo?.architecture ?? '',
    capabilities: (status?.domainCapabilities ?? []).map(readCapability),
    kvmUsable: findCondition(status, 'KVMUsable')?.status === 'True',
    allowEmulation: given.allowEmulation === true,
    pools: status?.pools === undefined ? undefined : new Map(status.pools.map((one) => [one.name, one.active ?? true])),
    networks: names(status?.networks),
    bridges:
      status?.bridges === undefined
        ? undefined
        : new Set([...status.bridges, ...(status.networks ?? []).flatMap(({ bridge }) => bridge ?? [])]),
    hostDevices: status?.hostDevices,
  };
}

function readCapability(one: DomainCapabilities): Capability {
  return {
    arch: one.arch,
    domainType: one.domainType,
    machineTypes: new Set(one.machineTypes ?? []),
    cpuModels: new Set(one.cpuModels ?? []),
    cpuFeatures: one.cpuFeatures === undefined ? undefined : new Set(one.cpuFeatures),
    maxVcpus: one.maxVcpus ?? 0,
    firmware: one.firmware,
    secureBoot: one.secureBoot,
    devices: one.devices ?? {},
  };
}

function readAmounts(status: HypervisorStatus | undefined): Amounts | undefined {
  if (status?.allocatable === undefined) return undefined;
  const amounts: Record<string, number> = {};
  for (const { pages } of status.numa ?? []) {
    for (const [size, count] of Object.entries(pages ?? {})) {
      const bytes = parseQuantity(size) ?? 0;
      const name = `hugepages-${formatBytes(bytes)}`;
      amounts[name] = (amounts[name] ?? 0) + bytes * count;
    }
  }
  for (const [name, quantity] of Object.entries(status.allocatable)) amounts[name] = parseQuantity(quantity) ?? 0;
  return amounts;
}
