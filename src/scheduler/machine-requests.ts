import type { Amounts } from './amounts.ts';
import { formatBytes } from '../api/quantity.ts';
import type { VirtualMachineSpec } from '../api/virtual-machine.ts';

const mib = 2 ** 20;
/** What a machine has that does not say: the executor's default (desired-domain.ts). */
const defaultMemoryBytes = 1024 * mib;
const defaultHugePageBytes = 2 * mib;
/** Pages of this size are no huge ones, also where `hugepages` asks for them. */
const ordinaryPageBytes = 4096;

/** libvirt's units of memory, in bytes (https://libvirt.org/formatdomain.html#memory-allocation). */
const units: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  kb: 1e3,
  k: 2 ** 10,
  kib: 2 ** 10,
  mb: 1e6,
  m: mib,
  mib,
  gb: 1e9,
  g: 2 ** 30,
  gib: 2 ** 30,
  tb: 1e12,
  t: 2 ** 40,
  tib: 2 ** 40,
};

interface Size {
  readonly unit?: string | undefined;
  readonly value?: number | string | undefined;
}

/** The bytes of a size of libvirt's; KiB when it has no unit. */
export function bytesOf(size: Size | undefined): number | undefined {
  if (size?.value === undefined) return undefined;
  const bytes = Number(size.value) * (units[(size.unit ?? 'KiB').toLowerCase()] ?? Number.NaN);
  return Number.isFinite(bytes) ? bytes : undefined;
}

/**
 * What QEMU takes beside the guest's memory: its own code and heap, a stack and device buffers for each CPU, page
 * tables, and the video memory. An upper estimate, after KubeVirt's (GetMemoryOverhead): too little would let the
 * kernel kill guests.
 *
 * @returns Bytes.
 */
export function memoryOverheadBytes(guestBytes: number, cpus: number, videos: number): number {
  return 64 * mib + 8 * mib * cpus + 16 * mib * videos + Math.ceil(guestBytes / 512);
}

/** What a machine takes from a node. Its size at boot counts, whether it runs or not: a start must never fail for want. */
export function machineRequests(spec: VirtualMachineSpec): Amounts {
  const domain = spec.domain ?? {};
  const { vcpu, devices } = domain;
  const parts = memoryParts(domain);
  const guestBytes = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  const cpus = vcpu?.current ?? vcpu?.value ?? 1;
  const overhead = memoryOverheadBytes(guestBytes, cpus, (devices?.video ?? []).length);
  const requests: Record<string, number> = { cpu: cpus, memory: overhead, domains: 1 };
  for (const { bytes, pageBytes } of parts) {
    const resource = pageBytes <= ordinaryPageBytes ? 'memory' : `hugepages-${formatBytes(pageBytes)}`;
    requests[resource] = (requests[resource] ?? 0) + bytes;
  }
  for (const device of hostDeviceNames(spec)) requests[`device/${device}`] = 1;
  return requests;
}

/** A part of a guest's memory, and the size of the pages behind it. */
interface MemoryPart {
  readonly bytes: number;
  readonly pageBytes: number;
}

/**
 * The guest's NUMA cells, whose sum is its memory whatever `memory` says, or all of it as cell 0; and memory modules.
 * Each cell has the first page size whose nodeset names it, else the one without a nodeset, else ordinary pages, as
 * libvirt gives them (https://libvirt.org/formatdomain.html#memory-backing).
 */
function memoryParts({ memory, memoryBacking, cpu, devices }: NonNullable<VirtualMachineSpec['domain']>): MemoryPart[] {
  const { hugepages } = memoryBacking ?? {};
  // `<hugepages/>` alone stands for the default size everywhere.
  const pages = hugepages === undefined ? [] : (hugepages.page?.length ?? 0) === 0 ? [{}] : (hugepages.page ?? []);
  const pageOf = (cell: number): number => {
    const page =
      pages.find(({ nodeset }) => nodeset !== undefined && isInSet(cell, nodeset)) ??
      pages.find(({ nodeset }) => nodeset === undefined);
    if (page === undefined) return ordinaryPageBytes;
    return bytesOf({ unit: page.unit, value: page.size }) ?? defaultHugePageBytes;
  };
  const cells = (cpu?.numa?.cell ?? []).map(({ id, memory: value, unit }, index) => ({
    id: id ?? index,
    bytes: bytesOf({ unit, value }) ?? 0,
  }));
  const isNuma = cells.some(({ bytes }) => bytes > 0);
  const boot = isNuma ? cells : [{ id: 0, bytes: bytesOf(memory) ?? defaultMemoryBytes }];
  const modules = (devices?.memory ?? []).map(({ source, target }) => ({
    bytes: bytesOf(target?.size) ?? 0,
    pageBytes: bytesOf(source?.pagesize) ?? pageOf(target?.node ?? 0),
  }));
  return [...boot.map(({ id, bytes }) => ({ bytes, pageBytes: pageOf(id) })), ...modules];
}

/** Whether a number is in a set of libvirt's: `0-3,^2,8`; the later word counts. */
function isInSet(number: number, text: string): boolean {
  let isIn = false;
  for (const part of text.split(',')) {
    const match = /^\s*(\^?)([0-9]+)(?:-([0-9]+))?\s*$/.exec(part);
    if (match === null) continue;
    if (number >= Number(match[2]) && number <= Number(match[3] ?? match[2])) isIn = match[1] === '';
  }
  return isIn;
}

/** libvirt's names of the node devices that a machine names exactly: each can be given to one machine at a time. */
export function hostDeviceNames(spec: VirtualMachineSpec): string[] {
  const names: string[] = [];
  for (const { type, source } of spec.domain?.devices?.hostdev ?? []) {
    const address = source?.address;
    if (type === 'pci' && address !== undefined) {
      const part = (value: string | undefined, digits: number): string =>
        Number(value ?? 0)
          .toString(16)
          .padStart(digits, '0');
      const { domain, bus, slot, function: fn } = address;
      names.push(`pci_${part(domain, 4)}_${part(bus, 2)}_${part(slot, 2)}_${part(fn, 1)}`);
    } else if (type === 'mdev' && address?.uuid !== undefined) {
      names.push(`mdev_${address.uuid.toLowerCase().replaceAll('-', '_')}`);
    }
  }
  return names;
}
