import type { CallOptions, Connection } from '../connection.ts';
import { processorsOf, wordAt } from './values.ts';

/** virNodeInfo. */
export interface NodeInfo {
  /** The processor's architecture, as `x86_64`. */
  readonly model: string;
  readonly memoryKiB: number;
  readonly cpus: number;
  readonly mhz: number;
  readonly numaNodes: number;
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

/** What domain capabilities are asked for; the driver's defaults unless given. */
export interface DomainCapabilitiesOptions extends CallOptions {
  readonly emulator?: string;
  readonly arch?: string;
  readonly machine?: string;
  /** `kvm`, `qemu`… */
  readonly virtType?: string;
}

/** virCPUCompareResult, from -1. */
const comparisons = ['error', 'incompatible', 'identical', 'superset'] as const;

/** The host, its hypervisor and its libvirt. */
export class Node {
  readonly #rpc: Connection;

  constructor(rpc: Connection) {
    this.#rpc = rpc;
  }

  async hostname(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('connectGetHostname', undefined, options)).hostname;
  }

  /** The driver's name: `QEMU`, `TEST`. */
  async hypervisor(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('connectGetType', undefined, options)).type;
  }

  /** As `7.2.22`. */
  async hypervisorVersion(options: CallOptions = {}): Promise<string> {
    return versionOf((await this.#rpc.call('connectGetVersion', undefined, options)).hvVer);
  }

  /** The daemon's version, as `9.0.0`. */
  async libvirtVersion(options: CallOptions = {}): Promise<string> {
    return versionOf((await this.#rpc.call('connectGetLibVersion', undefined, options)).libVer);
  }

  /** virConnectGetURI: what was opened, in full. */
  async uri(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('connectGetUri', undefined, options)).uri;
  }

  /** virConnectGetCapabilities, as XML. */
  async capabilities(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('connectGetCapabilities', undefined, options)).capabilities;
  }

  /** virConnectGetDomainCapabilities, as XML. */
  async domainCapabilities(options: DomainCapabilitiesOptions = {}): Promise<string> {
    const { emulator = null, arch = null, machine = null, virtType = null } = options;
    const args = { emulatorbin: emulator, arch, machine, virttype: virtType, flags: 0 };
    return (await this.#rpc.call('connectGetDomainCapabilities', args, options)).capabilities;
  }

  /** virConnectGetSysinfo: SMBIOS, as XML. */
  async sysinfo(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('connectGetSysinfo', { flags: 0 }, options)).sysinfo;
  }

  /** virNodeGetInfo. */
  async info(options: CallOptions = {}): Promise<NodeInfo> {
    const { model, memory, nodes, cpus, mhz, sockets, cores, threads } = await this.#rpc.call(
      'nodeGetInfo',
      undefined,
      options,
    );
    return { model, memoryKiB: Number(memory), cpus, mhz, numaNodes: nodes, sockets, cores, threads };
  }

  /** virNodeGetMemoryStats: `total`, `free`, `buffers`, `cached`, in KiB. */
  async memoryStats(options: CallOptions = {}): Promise<Readonly<Record<string, number>>> {
    const ask = { cellNum: -1, flags: 0 };
    const { nparams } = await this.#rpc.call('nodeGetMemoryStats', { ...ask, nparams: 0 }, options);
    const { params } = await this.#rpc.call('nodeGetMemoryStats', { ...ask, nparams }, options);
    return Object.fromEntries(params.map(({ field, value }) => [field, Number(value)]));
  }

  /** virNodeGetCPUStats of all processors: `kernel`, `user`, `idle`, `iowait`, in nanoseconds. */
  async cpuStats(options: CallOptions = {}): Promise<Readonly<Record<string, number>>> {
    const ask = { cpuNum: -1, flags: 0 };
    const { nparams } = await this.#rpc.call('nodeGetCpuStats', { ...ask, nparams: 0 }, options);
    const { params } = await this.#rpc.call('nodeGetCpuStats', { ...ask, nparams }, options);
    return Object.fromEntries(params.map(({ field, value }) => [field, Number(value)]));
  }

  /** virNodeGetFreeMemory, in bytes. */
  async freeMemoryBytes(options: CallOptions = {}): Promise<number> {
    return Number((await this.#rpc.call('nodeGetFreeMemory', undefined, options)).freeMem);
  }

  /** virNodeGetFreePages: free pages of each size (KiB), of one NUMA node after the other. */
  async freePages(
    pageSizesKiB: readonly number[],
    options: { startNode?: number; nodeCount?: number } & CallOptions = {},
  ): Promise<number[][]> {
    const { startNode = 0, nodeCount = 1 } = options;
    const args = { pages: pageSizesKiB, startCell: startNode, cellCount: nodeCount, flags: 0 };
    const counts = (await this.#rpc.call('nodeGetFreePages', args, options)).counts.map(Number);
    const width = pageSizesKiB.length;
    return Array.from({ length: nodeCount }, (_none, node) => counts.slice(node * width, (node + 1) * width));
  }

  /** virNodeGetCPUMap: the processors that are online. */
  async onlineProcessors(options: CallOptions = {}): Promise<number[]> {
    const args = { needMap: 1, needOnline: 1, flags: 0 };
    return processorsOf((await this.#rpc.call('nodeGetCpuMap', args, options)).cpumap);
  }

  /** virConnectGetMaxVcpus of a domain type. */
  async maxVcpus(type?: string, options: CallOptions = {}): Promise<number> {
    return (await this.#rpc.call('connectGetMaxVcpus', { type: type ?? null }, options)).maxVcpus;
  }

  /** virConnectGetCPUModelNames of an architecture. */
  async cpuModels(arch: string, options: CallOptions = {}): Promise<readonly string[]> {
    return (await this.#rpc.call('connectGetCpuModelNames', { arch, needResults: 1, flags: 0 }, options)).models;
  }

  /** virConnectCompareHypervisorCPU: what the hypervisor can do beside what `cpuXml` asks for. */
  async compareCpu(cpuXml: string, options: DomainCapabilitiesOptions = {}): Promise<(typeof comparisons)[number]> {
    const { emulator = null, arch = null, machine = null, virtType = null } = options;
    const args = { emulator, arch, machine, virttype: virtType, xmlCPU: cpuXml, flags: 0 };
    const word = wordAt(comparisons, (await this.#rpc.call('connectCompareHypervisorCpu', args, options)).result + 1);
    return word === 'unknown' ? 'error' : word;
  }

  /**
   * virConnectBaselineHypervisorCPU: the CPU that all of these hosts can offer, as XML.
   *
   * @param options.expandFeatures Lists the features of its model too, not only those beyond it.
   */
  async baselineCpu(
    cpuXmls: readonly string[],
    options: DomainCapabilitiesOptions & { readonly expandFeatures?: boolean } = {},
  ): Promise<string> {
    const { emulator = null, arch = null, machine = null, virtType = null, expandFeatures = false } = options;
    const args = { emulator, arch, machine, virttype: virtType, xmlCPUs: cpuXmls, flags: expandFeatures ? 1 : 0 };
    return (await this.#rpc.call('connectBaselineHypervisorCpu', args, options)).cpu;
  }
}

/** 9000003 is 9.0.3. */
function versionOf(number: bigint): string {
  return [number / 1_000_000n, (number / 1000n) % 1000n, number % 1000n].join('.');
}
