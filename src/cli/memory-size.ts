import { InvalidArgumentError } from 'commander';
import { parseQuantity } from '../api/quantity.ts';

/** libvirt's units of memory, in bytes (https://libvirt.org/formatdomain.html#memory-allocation). */
const libvirtUnits: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  kb: 1e3,
  k: 2 ** 10,
  kib: 2 ** 10,
  mb: 1e6,
  m: 2 ** 20,
  mib: 2 ** 20,
  gb: 1e9,
  g: 2 ** 30,
  gib: 2 ** 30,
  tb: 1e12,
  t: 2 ** 40,
  tib: 2 ** 40,
};

/** libvirt counts bytes of memory in 63 bits (virDomainParseMemory). */
const maxBytes = 2 ** 63;

/** The bytes of libvirt's `<memory unit='MiB'>2048</memory>`; KiB when it has no unit. */
export function bytesOfMemory(
  memory: { readonly unit?: string | undefined; readonly value?: number | string | undefined } | undefined,
): number | undefined {
  if (memory?.value === undefined) return undefined;
  const factor = libvirtUnits[(memory.unit ?? 'KiB').toLowerCase()];
  return factor === undefined ? undefined : Number(memory.value) * factor;
}

/** Bytes as libvirt's memory element, in the largest unit that divides them. */
export function memoryOfBytes(bytes: number): { unit: 'GiB' | 'MiB' | 'KiB'; value: number } {
  for (const [unit, size] of [
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
  ] as const) {
    if (bytes % size === 0) return { unit, value: bytes / size };
  }
  return { unit: 'KiB', value: Math.ceil(bytes / 1024) };
}

/**
 * Parses a size of memory as users of kubectl (`2Gi`, `2G`) and of virsh (`2GiB`, `2048MiB`) write it; a bare number is
 * MiB, as virt-install has it.
 *
 * @returns Bytes, at least one KiB and less than 8 EiB.
 * @throws InvalidArgumentError, which commander reports with the flag's name.
 */
export function parseMemorySize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-zA-Z]*)$/.exec(text);
  const unit = match?.[2] ?? '';
  // Kubernetes writes 2G for 10^9; in everything that is spelled out, both agree.
  const spelled = unit.length > 2 || /^[kmgt]b$/i.test(unit) ? libvirtUnits[unit.toLowerCase()] : undefined;
  const bytes = unit === '' ? Number(match?.[1]) * 2 ** 20 : (spelled ?? Number.NaN) * Number(match?.[1]);
  const size = Number.isNaN(bytes) ? parseQuantity(text) : bytes;
  if (size === undefined || !Number.isFinite(size) || size < 1024) {
    throw new InvalidArgumentError(`"${text}" is not a size, as 512Mi or 4GiB.`);
  }
  if (size >= maxBytes) throw new InvalidArgumentError(`"${text}" is more than there can be: expected less than 8Ei.`);
  return Math.round(size);
}
