import type { Amounts } from './amounts.ts';
import { formatBytes } from '../api/quantity.ts';
import type { VirtualMachineSpec } from '../api/virtual-machine.ts';

const mib = 2 ** 20;
/** What a machine has that does not say: the executor's default (desired-domain.ts). */
const defaultMemoryBytes = 1024 * mib;
const defaultHugePageBytes = 2 * mib;

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
  const { vcpu, memory, memoryBacking, devices } = domain;
  const cells = domain.cpu?.numa?.cell ?? [];
  const cellBytes = cells.reduce((sum, cell) => sum + (bytesOf({ unit: cell.unit, value: cell.memory }) ?? 0), 0);
  const modules = (devices?.memory ?? []).reduce((sum, module) => sum + (bytesOf(module.target?.size) ?? 0), 0);
  const guestBytes = (bytesOf(memory) ?? (cellBytes > 0 ? cellBytes : defaultMemoryBytes)) + modules;
  const cpus = vcpu?.current ?? vcpu?.value ?? 1;
  const overhead = memoryOverheadBytes(guestBytes, cpus, (devices?.video ?? []).length);
  const requests: Record<string, number> = { cpu: cpus, memory: overhead, domains: 1 };
  if (memoryBacking?.hugepages === undefined) requests['memory'] = overhead + guestBytes;
  else {
    const page = memoryBacking.hugepages.page?.[0];
    const pageBytes = bytesOf({ unit: page?.unit, value: page?.size }) ?? defaultHugePageBytes;
    requests[`hugepages-${formatBytes(pageBytes)}`] = guestBytes;
  }
  for (const device of hostDeviceNames(spec)) requests[`device/${device}`] = 1;
  return requests;
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
