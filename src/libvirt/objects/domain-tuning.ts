import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullDomain } from '../protocol.gen.ts';
import { typedParameters, type TypedParameter } from '../typed-parameter.ts';
import { affectFlags, flagBits, stringsOkay, type AffectOptions } from './flags.ts';
import { cpuMapOf, processorsOf, valuesOf, type Value, type Values } from './values.ts';

type Options = AffectOptions & CallOptions;

/** The types of libvirt's parameters that are not `ullong` (VIR_DOMAIN_SCHEDULER_… and the like). */
const parameterTypes: Readonly<Record<string, TypedParameter['type']>> = {
  vcpu_quota: 'llong',
  emulator_quota: 'llong',
  global_quota: 'llong',
  iothread_quota: 'llong',
  weight: 'uint',
  numa_mode: 'int',
  'inbound.average': 'uint',
  'inbound.peak': 'uint',
  'inbound.burst': 'uint',
  'inbound.floor': 'uint',
  'outbound.average': 'uint',
  'outbound.peak': 'uint',
  'outbound.burst': 'uint',
  poll_max_ns: 'ullong',
  poll_grow: 'uint',
  poll_shrink: 'uint',
  thread_pool_min: 'int',
  thread_pool_max: 'int',
};

const encode = (values: Values): TypedParameter[] =>
  typedParameters(
    values,
    Object.fromEntries(
      Object.entries(values)
        .filter(([, value]) => typeof value === 'number')
        .map(([name]) => [name, parameterTypes[name] ?? 'ullong']),
    ),
  );

/** An I/O thread and the processors it may run on. */
export interface IoThread {
  readonly id: number;
  readonly processors: readonly number[];
}

/**
 * Tuning of a domain. Parameters carry libvirt's names (`cpu_shares`, `vcpu_quota`, `hard_limit`); numbers are sent
 * with the type that libvirt has for each.
 */
export class DomainTuning {
  readonly #rpc: Connection;
  readonly #dom: NonnullDomain;

  constructor(rpc: Connection, dom: NonnullDomain) {
    this.#rpc = rpc;
    this.#dom = dom;
  }

  #args(options: Options): { dom: NonnullDomain; flags: number } {
    return { dom: this.#dom, flags: flagBits(affectFlags, options) };
  }

  #question(options: Options): { dom: NonnullDomain; flags: number } {
    return { dom: this.#dom, flags: flagBits(affectFlags, options) | stringsOkay };
  }

  /** virDomainGetSchedulerParametersFlags. */
  async scheduler(options: Options = {}): Promise<Record<string, Value>> {
    const { nparams } = await this.#rpc.call('domainGetSchedulerType', { dom: this.#dom }, options);
    const args = { ...this.#question(options), nparams };
    return valuesOf((await this.#rpc.call('domainGetSchedulerParametersFlags', args, options)).params);
  }

  /** virDomainSetSchedulerParametersFlags. */
  async setScheduler(values: Values, options: Options = {}): Promise<void> {
    const args = { ...this.#args(options), params: encode(values) };
    await this.#rpc.call('domainSetSchedulerParametersFlags', args, options);
  }

  /** virDomainGetBlkioParameters. */
  async blkio(options: Options = {}): Promise<Record<string, Value>> {
    const args = this.#question(options);
    const { nparams } = await this.#rpc.call('domainGetBlkioParameters', { ...args, nparams: 0 }, options);
    return valuesOf((await this.#rpc.call('domainGetBlkioParameters', { ...args, nparams }, options)).params);
  }

  /** virDomainSetBlkioParameters. */
  async setBlkio(values: Values, options: Options = {}): Promise<void> {
    await this.#rpc.call('domainSetBlkioParameters', { ...this.#args(options), params: encode(values) }, options);
  }

  /** virDomainGetMemoryParameters: limits in KiB; 2^53 - 1 is none. */
  async memory(options: Options = {}): Promise<Record<string, Value>> {
    const args = this.#question(options);
    const { nparams } = await this.#rpc.call('domainGetMemoryParameters', { ...args, nparams: 0 }, options);
    return valuesOf((await this.#rpc.call('domainGetMemoryParameters', { ...args, nparams }, options)).params);
  }

  /** virDomainSetMemoryParameters. */
  async setMemory(values: Values, options: Options = {}): Promise<void> {
    await this.#rpc.call('domainSetMemoryParameters', { ...this.#args(options), params: encode(values) }, options);
  }

  /** virDomainGetNumaParameters. */
  async numa(options: Options = {}): Promise<Record<string, Value>> {
    const args = this.#question(options);
    const { nparams } = await this.#rpc.call('domainGetNumaParameters', { ...args, nparams: 0 }, options);
    return valuesOf((await this.#rpc.call('domainGetNumaParameters', { ...args, nparams }, options)).params);
  }

  /** virDomainSetNumaParameters: `numa_nodeset`, `numa_mode`. */
  async setNuma(values: Values, options: Options = {}): Promise<void> {
    await this.#rpc.call('domainSetNumaParameters', { ...this.#args(options), params: encode(values) }, options);
  }

  /** virDomainGetInterfaceParameters of a card, named by MAC address or target. */
  async interface(device: string, options: Options = {}): Promise<Record<string, Value>> {
    const args = { ...this.#question(options), device };
    const { nparams } = await this.#rpc.call('domainGetInterfaceParameters', { ...args, nparams: 0 }, options);
    return valuesOf((await this.#rpc.call('domainGetInterfaceParameters', { ...args, nparams }, options)).params);
  }

  /** virDomainSetInterfaceParameters: `inbound.average` and the like, in KiB per second. */
  async setInterface(device: string, values: Values, options: Options = {}): Promise<void> {
    const args = { ...this.#args(options), device, params: encode(values) };
    await this.#rpc.call('domainSetInterfaceParameters', args, options);
  }

  /** virDomainPinVcpuFlags. */
  async pinVcpu(vcpu: number, processors: readonly number[], options: Options = {}): Promise<void> {
    const args = { ...this.#args(options), vcpu, cpumap: cpuMapOf(processors) };
    await this.#rpc.call('domainPinVcpuFlags', args, options);
  }

  /** virDomainGetVcpuPinInfo: for each virtual processor the host's processors that it may run on. */
  async vcpuPins(options: Options = {}): Promise<number[][]> {
    const flags = flagBits(affectFlags, options);
    const { num: ncpumaps } = await this.#rpc.call('domainGetVcpusFlags', { dom: this.#dom, flags }, options);
    const maplen = await this.#mapLength(options);
    const args = { dom: this.#dom, ncpumaps, maplen, flags };
    const { cpumaps, num } = await this.#rpc.call('domainGetVcpuPinInfo', args, options);
    return Array.from({ length: num }, (_none, at) => processorsOf(cpumaps.subarray(at * maplen, (at + 1) * maplen)));
  }

  /** virDomainPinEmulator. */
  async pinEmulator(processors: readonly number[], options: Options = {}): Promise<void> {
    await this.#rpc.call('domainPinEmulator', { ...this.#args(options), cpumap: cpuMapOf(processors) }, options);
  }

  /** virDomainGetIOThreadInfo. */
  async ioThreads(options: Options = {}): Promise<IoThread[]> {
    const { info } = await this.#rpc.call('domainGetIothreadInfo', this.#args(options), options);
    return info.map(({ iothreadId, cpumap }) => ({ id: iothreadId, processors: processorsOf(cpumap) }));
  }

  /** virDomainAddIOThread. */
  async addIoThread(id: number, options: Options = {}): Promise<void> {
    await this.#rpc.call('domainAddIothread', { ...this.#args(options), iothreadId: id }, options);
  }

  /** virDomainDelIOThread. */
  async deleteIoThread(id: number, options: Options = {}): Promise<void> {
    await this.#rpc.call('domainDelIothread', { ...this.#args(options), iothreadId: id }, options);
  }

  /** virDomainPinIOThread. */
  async pinIoThread(id: number, processors: readonly number[], options: Options = {}): Promise<void> {
    const args = { ...this.#args(options), iothreadsId: id, cpumap: cpuMapOf(processors) };
    await this.#rpc.call('domainPinIothread', args, options);
  }

  /** virDomainSetIOThreadParams: `poll_max_ns` and the like. */
  async setIoThread(id: number, values: Values, options: Options = {}): Promise<void> {
    const args = { ...this.#args(options), iothreadId: id, params: encode(values) };
    await this.#rpc.call('domainSetIothreadParams', args, options);
  }

  /** virNodeGetCPUMap: the numbers of the host's processors that are online. */
  async hostProcessors(options: CallOptions = {}): Promise<number[]> {
    const { cpumap } = await this.#rpc.call('nodeGetCpuMap', { needMap: 1, needOnline: 0, flags: 0 }, options);
    return processorsOf(cpumap);
  }

  async #mapLength(options: CallOptions): Promise<number> {
    const { cpumap } = await this.#rpc.call('nodeGetCpuMap', { needMap: 1, needOnline: 0, flags: 0 }, options);
    return Math.max(1, cpumap.length);
  }
}
