/**
 * The node's Hypervisor object: made when it is not there, kept fresh, and read for what the administrator allows. Its Lease
 * is the sign of life (reconcile/lease.ts).
 *
 *   connected ──▶ facts (once a connection) ──▶ KVM probe (cached) ──▶ status ──▶ every 5 min, or on a change
 */
import { findOrphans, maxToldOrphans, type DomainOwner } from './find-orphans.ts';
import { readInventory, type HostInventory } from './host-inventory.ts';
import { kvmDeviceProblem } from './kvm-device.ts';
import { probeKvm, type KvmProbe, type KvmProbeOptions } from './kvm-probe.ts';
import { readNodeFacts, type NodeFacts } from './node-facts.ts';
import { mergePatchOf } from '../status-patch.ts';
import type { LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import type { NodeTraits } from '../virtual-machine/desired-domain.ts';
import {
  hypervisorConditions,
  hypervisorReasons,
  overcommitDefaults,
  type Hypervisor,
  type HypervisorStatus,
} from '../../api/hypervisor.ts';
import { formatBytes, parseQuantity } from '../../api/quantity.ts';
import { backoffMs, type BackoffPolicy } from '../../base/backoff.ts';
import { toKubernetesTime, type Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { isAlreadyExists } from '../../kube/status-error.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';
import { setCondition } from '../../reconcile/conditions.ts';
import type { EventRecord } from '../../reconcile/event-recorder.ts';

/** What is placed on a node: CPUs and bytes of memory of its machines. */
export interface Allocation {
  readonly machines: number;
  readonly cpus: number;
  readonly memoryBytes: number;
}

/** Options of {@link HypervisorKeeper}. */
export interface HypervisorKeeperOptions {
  readonly nodeName: string;
  readonly uri: string;
  readonly hypervisors: ResourceClient<Hypervisor>;
  readonly libvirt: () => Libvirt | undefined;
  readonly allocation: () => Allocation;
  /** UUIDs of the domains of this node's machines. */
  readonly ownDomains: () => ReadonlySet<string>;
  /** Whether it is known by now which machines there are. */
  readonly knowsMachines: () => boolean;
  /** Whether there is the VirtualMachine that a domain was made for. */
  readonly isOwned: (owner: DomainOwner) => boolean;
  readonly record: (event: EventRecord) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A folder that QEMU can read, for the probe of KVM. */
  readonly folder: string;
  /** Eight hexadecimal digits that are new each time. */
  readonly newId: () => string;
}

/** KVM that did not work is tried again after so long: a module may have been loaded, or a mode put right. */
const probeBackoff: BackoffPolicy = { initialMs: 60_000, maxMs: 30 * 60_000, factor: 2, jitter: 0 };
/** 1 GiB is the node's own unless the administrator says otherwise. */
const defaults = { ...overcommitDefaults, reservedMemory: 1024 ** 3 };

/** See the head of this file. */
export class HypervisorKeeper {
  readonly #options: HypervisorKeeperOptions;
  #facts: { readonly of: Libvirt; readonly facts: NodeFacts } | undefined;
  #probe: { readonly result: ProbeResult; readonly atMs: number; readonly failures: number } | undefined;
  #allowEmulation = false;
  #orphans = 0;
  /** One at a time: two probes would write the same disk. */
  #preparing: Promise<void> | undefined;

  constructor(options: HypervisorKeeperOptions) {
    this.#options = options;
  }

  /** What reconciles of machines go by. Before the first refresh nothing is known, and KVM is not taken for granted. */
  get traits(): NodeTraits & { readonly kvmUsable: boolean; readonly kvmMessage: string } {
    const facts = this.#facts?.facts;
    const probe = this.#probe?.result;
    const kvmUsable = probe?.usable === true;
    return {
      arch: facts?.arch ?? 'x86_64',
      nativeType: facts?.nativeType ?? 'kvm',
      emulate: !kvmUsable && this.#allowEmulation,
      kvmUsable,
      kvmMessage: probe?.message ?? 'not tried yet',
    };
  }

  /** In how many milliseconds KVM that did not work is tried again; undefined when it worked, or was not tried yet. */
  get probeInMs(): number | undefined {
    if (this.#probe === undefined || this.#probe.result.usable) return undefined;
    const { atMs, failures } = this.#probe;
    const waitMs = backoffMs(probeBackoff, failures - 1, () => 0);
    return Math.max(0, atMs + waitMs - this.#options.clock.monotonicMs());
  }

  get facts(): NodeFacts | undefined {
    return this.#facts?.facts;
  }

  /** Takes over what the administrator wrote. */
  observe(hypervisor: Hypervisor): void {
    this.#allowEmulation = hypervisor.spec.allowEmulation === true;
  }

  /** Finds out what machines' reconciles need, without the API server. */
  async prepare(libvirt: Libvirt, signal: AbortSignal): Promise<void> {
    this.#preparing ??= this.#prepare(libvirt, signal).finally(() => (this.#preparing = undefined));
    await this.#preparing;
  }

  async #prepare(libvirt: Libvirt, signal: AbortSignal): Promise<void> {
    const options = { signal, timeoutMs: 60_000 };
    if (this.#facts?.of !== libvirt) {
      this.#facts = { of: libvirt, facts: await readNodeFacts(libvirt, this.#options.uri, options) };
    }
    const { emulator, arch } = this.#facts.facts;
    const { folder, newId } = this.#options;
    if (this.#probe !== undefined && this.probeInMs !== 0) return;
    const result: ProbeResult =
      emulator === undefined
        ? { usable: false, reason: 'NoDevice', message: 'this driver of libvirt has no KVM' }
        : await tryKvm(libvirt, arch, {
            folder,
            id: newId()
              .replace(/[^0-9a-f]/gi, '')
              .slice(0, 8),
            signal,
          });
    const failures = result.usable ? 0 : (this.#probe?.failures ?? 0) + 1;
    this.#probe = { result, atMs: this.#options.clock.monotonicMs(), failures };
    this.#options.logger.info('tried KVM', { usable: result.usable, reason: result.reason, message: result.message });
  }

  /** Makes the object if it is not there, reads what is allowed, and writes its status. */
  async refresh(signal: AbortSignal): Promise<Hypervisor> {
    const { hypervisors, nodeName, clock } = this.#options;
    const libvirt = this.#options.libvirt();
    if (libvirt !== undefined) await this.prepare(libvirt, signal);
    const object = await this.#ensure(signal);
    this.observe(object);
    const status = await this.#status(object, libvirt, signal);
    const patch = mergePatchOf(object.status, status);
    if (patch === undefined) return object;
    const heartbeat = { ...patch, lastHeartbeatTime: toKubernetesTime(clock.now()) };
    return hypervisors.mergePatch({ name: nodeName }, { status: heartbeat }, { subresource: 'status', signal });
  }

  async #ensure(signal: AbortSignal): Promise<Hypervisor> {
    const { hypervisors, nodeName } = this.#options;
    const found = await hypervisors.find({ name: nodeName }, { signal });
    if (found !== undefined) return found;
    const made: Hypervisor = {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'Hypervisor',
      metadata: { name: nodeName, labels: { 'kubernetes.io/hostname': nodeName } },
      spec: {},
    };
    try {
      return await hypervisors.create(made, { signal });
    } catch (error) {
      if (isAlreadyExists(error)) return hypervisors.get({ name: nodeName }, { signal });
      throw error;
    }
  }

  async #status(object: Hypervisor, libvirt: Libvirt | undefined, signal: AbortSignal): Promise<HypervisorStatus> {
    const facts = this.#facts?.facts;
    const now = this.#options.clock.now();
    const probe = this.#probe?.result;
    let conditions = object.status?.conditions;
    const set = (type: string, status: boolean | 'Unknown', reason: string, message = ''): void => {
      const observedGeneration = object.metadata.generation;
      conditions = [...setCondition(conditions, { type, status, reason, message, observedGeneration }, now)];
    };
    const connected = libvirt !== undefined;
    const { Connected, Disconnected, Ready, EmulationAllowed } = hypervisorReasons;
    set(hypervisorConditions.LibvirtConnected, connected, connected ? Connected : Disconnected);
    set(
      hypervisorConditions.KVMUsable,
      probe?.usable ?? 'Unknown',
      probe?.usable === false && this.#allowEmulation ? EmulationAllowed : (probe?.reason ?? 'ProbeFailed'),
      probe?.message ?? 'not tried yet',
    );
    set(hypervisorConditions.Ready, connected, connected ? Ready : Disconnected);
    if (facts === undefined || libvirt === undefined) return { ...object.status, conditions };
    const inventory = await this.#inventory(object, libvirt, signal);
    const { orphans, domains } = inventory;
    const names = (orphans ?? []).map((one) => one.domain).join(', ');
    const { OrphansFound, NoOrphans } = hypervisorReasons;
    const count = domains?.orphaned ?? 0;
    if (count > 0) set(hypervisorConditions.OrphanedDomains, true, OrphansFound, `their machines are gone: ${names}`);
    else set(hypervisorConditions.OrphanedDomains, false, NoOrphans);
    const { orphans: _before, ...rest } = object.status ?? {};
    return {
      ...rest,
      observedGeneration: object.metadata.generation,
      ...this.#resources(object, facts),
      addresses: facts.addresses,
      nodeInfo: facts.nodeInfo,
      cpu: facts.cpu,
      numa: facts.numa,
      domainCapabilities: facts.domainCapabilities,
      ...inventory,
      conditions,
    };
  }

  #resources(
    { spec }: Hypervisor,
    { cpus, memoryBytes, numa }: NodeFacts,
  ): Pick<HypervisorStatus, 'capacity' | 'allocatable' | 'allocated'> {
    const { cpuPercent = defaults.cpuPercent, memoryPercent = defaults.memoryPercent } = spec.overcommit ?? {};
    const reservedCpu = amount(spec.reserved?.cpu) ?? 0;
    const reservedMemory = amount(spec.reserved?.memory) ?? Math.min(defaults.reservedMemory, memoryBytes / 4);
    const { machines, cpus: usedCpus, memoryBytes: usedMemory } = this.#options.allocation();
    // Huge pages are taken from the memory for good, whoever uses them.
    const { amounts: hugePages, bytes: hugeBytes } = hugePagesOf(numa);
    const ordinaryBytes = memoryBytes - hugeBytes;
    return {
      capacity: { cpu: String(cpus), memory: String(memoryBytes), ...hugePages },
      allocatable: {
        cpu: String(Math.floor((Math.max(0, cpus - reservedCpu) * cpuPercent) / 100)),
        memory: String(Math.floor((Math.max(0, ordinaryBytes - reservedMemory) * memoryPercent) / 100)),
        ...hugePages,
      },
      allocated: { cpu: String(usedCpus), memory: String(usedMemory), domains: String(machines) },
    };
  }

  /** How many domains were orphans when last looked. */
  get orphans(): number {
    return this.#orphans;
  }

  async #findOrphans(
    object: Hypervisor,
    all: readonly Domain[],
    options: LibvirtCallOptions,
  ): Promise<Pick<HypervisorStatus, 'orphans'>> {
    const { ownDomains, knowsMachines, isOwned, record } = this.#options;
    // Before the machines are known, all would be orphans.
    if (!knowsMachines()) return {};
    const found = await findOrphans(all, ownDomains(), isOwned, options);
    this.#orphans = found.length;
    const before = new Set((object.status?.orphans ?? []).map(({ uuid }) => uuid));
    const orphans = found.slice(0, maxToldOrphans);
    for (const { domain, uuid, namespace = '', name = '' } of orphans) {
      if (before.has(uuid)) continue;
      const note = `the domain ${domain} was made for the VirtualMachine ${namespace}/${name}, which is gone; it is left alone`;
      record({ regarding: object, type: 'Warning', reason: 'OrphanedDomain', action: 'Compare', note });
    }
    return found.length === 0 ? {} : { orphans };
  }

  async #inventory(
    object: Hypervisor,
    libvirt: Libvirt,
    signal: AbortSignal,
  ): Promise<HostInventory & Pick<HypervisorStatus, 'domains' | 'orphans'>> {
    const options = { signal, timeoutMs: 30_000 };
    const [all, running] = await Promise.all([
      libvirt.domains.list(options),
      libvirt.domains.list({ active: true, ...options }),
    ]);
    const { orphans } = await this.#findOrphans(object, all, options);
    const orphaned = orphans === undefined ? {} : { orphans };
    const domains = {
      total: all.length,
      running: running.length,
      foreign: Math.max(0, all.length - this.#options.ownDomains().size),
      ...(orphans === undefined ? {} : { orphaned: this.#orphans }),
    };
    return { domains, ...(await readInventory(libvirt, this.#options.logger, options)), ...orphaned };
  }
}

/** What the probe found, with a reason for the condition KVMUsable. */
interface ProbeResult extends KvmProbe {
  readonly reason: 'Usable' | 'NoDevice' | 'GuestHung' | 'ProbeFailed';
}

async function tryKvm(libvirt: Libvirt, arch: string, options: KvmProbeOptions): Promise<ProbeResult> {
  const device = await kvmDeviceProblem();
  if (device?.problem === 'missing') return { usable: false, reason: 'NoDevice', message: device.message };
  if (arch !== 'x86_64')
    return { usable: true, reason: 'Usable', message: `/dev/kvm is there; no guest was tried on ${arch}` };
  const probe = await probeKvm(libvirt, options);
  if (probe.usable) return { ...probe, reason: 'Usable' };
  const reason = /did not boot/.test(probe.message) ? 'GuestHung' : 'ProbeFailed';
  const message = device === undefined ? probe.message : `${probe.message}; ${device.message}`;
  return { usable: false, message, reason };
}

/** All huge pages of a node by their size, as `hugepages-2Mi`: bytes. */
function hugePagesOf(numa: NodeFacts['numa']): {
  readonly amounts: Readonly<Record<string, string>>;
  readonly bytes: number;
} {
  const bytes = new Map<string, number>();
  for (const { pages } of numa) {
    for (const [size, count] of Object.entries(pages ?? {})) {
      if (count === 0) continue;
      const pageBytes = parseQuantity(size) ?? 0;
      const name = `hugepages-${formatBytes(pageBytes)}`;
      bytes.set(name, (bytes.get(name) ?? 0) + pageBytes * count);
    }
  }
  const amounts = Object.fromEntries([...bytes].map(([name, much]) => [name, String(much)]));
  return { amounts, bytes: [...bytes.values()].reduce((sum, much) => sum + much, 0) };
}

function amount(value: string | number | undefined): number | undefined {
  return value === undefined ? undefined : parseQuantity(value);
}
