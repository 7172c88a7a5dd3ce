import { randomBytes } from 'node:crypto';
import { access, constants, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Check, Finding } from './check.ts';
import { oneLine } from './check.ts';
import { formatBytesRounded } from '../../api/quantity.ts';
import { kvmDeviceProblem } from '../../executor/hypervisor/kvm-device.ts';
import { probeKvm } from '../../executor/hypervisor/kvm-probe.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { openLibvirt } from '../../libvirt/libvirt.ts';

/** The oldest libvirt and QEMU that machines are tested with. */
const oldest = { libvirt: [8, 0, 0], qemu: [6, 2, 0] } as const;
const lowSpaceBytes = 2 * 2 ** 30;
const lowSpaceShare = 0.05;

/** The checks of this host. They share one connection, which the last one closes. */
export function nodeChecks(uri: string): { readonly checks: readonly Check[]; readonly close: () => Promise<void> } {
  let connected: Libvirt | undefined;
  const withLibvirt =
    (work: (libvirt: Libvirt, signal: AbortSignal) => Promise<Finding>): Check['run'] =>
    async (signal) =>
      connected === undefined ? { status: 'skip', message: 'needs libvirt' } : work(connected, signal);
  const checks: Check[] = [
    {
      name: 'libvirt is reachable',
      async run(signal) {
        connected = await openLibvirt(uri, { signal });
        return { status: 'ok', message: `${uri} on ${await connected.node.hostname({ signal })}` };
      },
    },
    { name: 'versions', run: withLibvirt(checkVersions) },
    { name: 'KVM works', run: withLibvirt(checkKvm) },
    { name: 'processor and memory', run: withLibvirt(checkResources) },
    { name: 'storage pool "default"', run: withLibvirt(checkDefaultPool) },
    { name: 'space in the pools', run: withLibvirt(checkSpace) },
    { name: 'programs beside libvirt', run: checkPrograms },
  ];
  return { checks, close: async () => connected?.close() };
}

async function checkVersions(libvirt: Libvirt, signal: AbortSignal): Promise<Finding> {
  const libvirtVersion = await libvirt.node.libvirtVersion({ signal });
  const hypervisor = await libvirt.node.hypervisor({ signal });
  const version = await libvirt.node.hypervisorVersion({ signal });
  const message = `libvirt ${libvirtVersion}, ${hypervisor} ${version}`;
  const old = isOlder(libvirtVersion, oldest.libvirt) || (hypervisor === 'QEMU' && isOlder(version, oldest.qemu));
  if (!old) return { status: 'ok', message };
  return {
    status: 'warn',
    message: `${message}: older than what is tested`,
    fix: `upgrade to libvirt ${oldest.libvirt.join('.')} and QEMU ${oldest.qemu.join('.')} at least`,
  };
}

function isOlder(version: string, least: readonly number[]): boolean {
  const parts = version.split('.').map(Number);
  for (const [index, wanted] of least.entries()) {
    const have = parts[index] ?? 0;
    if (have !== wanted) return have < wanted;
  }
  return false;
}

async function checkKvm(libvirt: Libvirt, signal: AbortSignal): Promise<Finding> {
  const emulation = "or set spec.allowEmulation on the node's Hypervisor and accept slow guests";
  const device = await kvmDeviceProblem();
  if (device?.problem === 'missing') {
    return { status: 'warn', message: device.message, fix: `${device.fix}; ${emulation}` };
  }
  const folder = join(tmpdir(), `virtctl-doctor-${randomBytes(4).toString('hex')}`);
  try {
    const { usable, message } = await probeKvm(libvirt, { folder, id: randomBytes(4).toString('hex'), signal });
    if (usable && device === undefined) return { status: 'ok', message };
    if (usable) return { status: 'warn', message: `${message}, but ${device?.message ?? ''}`, fix: device?.fix ?? '' };
    const words = `/dev/kvm is there, but guests cannot run: ${oneLine(message)}`;
    if (device !== undefined) return { status: 'warn', message: `${words}; ${device.message}`, fix: device.fix };
    const fix = `enable virtualisation in the firmware, or nested virtualisation on the outer host; ${emulation}`;
    return { status: 'warn', message: words, fix };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function checkResources(libvirt: Libvirt, signal: AbortSignal): Promise<Finding> {
  const info = await libvirt.node.info({ signal });
  const free = await libvirt.node.freeMemoryBytes({ signal });
  const message = `${info.cpus} CPUs, ${formatBytesRounded(info.memoryKiB * 1024)} memory, ${formatBytesRounded(free)} free`;
  if (free >= 512 * 2 ** 20) return { status: 'ok', message };
  return { status: 'warn', message, fix: 'stop something, or machines will be short of memory' };
}

async function checkDefaultPool(libvirt: Libvirt, signal: AbortSignal): Promise<Finding> {
  try {
    const pool = await libvirt.pools.byName('default', { signal });
    if (await pool.isActive({ signal })) return { status: 'ok', message: 'active' };
    return { status: 'warn', message: 'not active', fix: 'virsh pool-start default; virsh pool-autostart default' };
  } catch (error) {
    if (!isNotFound(error)) throw error;
    return {
      status: 'warn',
      message: 'does not exist',
      fix: 'virsh pool-define-as default dir --target /var/lib/libvirt/images; virsh pool-start --build default',
    };
  }
}

async function checkSpace(libvirt: Libvirt, signal: AbortSignal): Promise<Finding> {
  const low: string[] = [];
  const pools = await libvirt.pools.list({ active: true, signal });
  for (const pool of pools) {
    const { availableBytes, capacityBytes } = await pool.info({ signal });
    if (availableBytes < lowSpaceBytes || availableBytes < capacityBytes * lowSpaceShare) {
      low.push(`${pool.name} has ${formatBytesRounded(availableBytes)} of ${formatBytesRounded(capacityBytes)} left`);
    }
  }
  if (low.length === 0) return { status: 'ok', message: `${pools.length} active, none is full` };
  return { status: 'warn', message: low.join('; '), fix: 'delete disks that nobody uses, or make the pool larger' };
}

/** Programs that a node uses beside libvirt, and what for. */
const programs: Readonly<Record<string, { readonly use: string; readonly package: string }>> = {
  'qemu-img': { use: 'images and disks', package: 'qemu-utils' },
  genisoimage: { use: 'cloud-init', package: 'genisoimage' },
  dnsmasq: { use: 'NAT and isolated networks', package: 'dnsmasq-base' },
};

async function checkPrograms(): Promise<Finding> {
  const missing: string[] = [];
  for (const program of Object.keys(programs)) if (!(await isInstalled(program))) missing.push(program);
  if (missing.length === 0) return { status: 'ok', message: Object.keys(programs).join(', ') };
  return {
    status: 'warn',
    message: missing.map((name) => `${name} is missing (${programs[name]?.use ?? ''})`).join('; '),
    fix: `apt-get install ${missing.map((name) => programs[name]?.package ?? name).join(' ')}`,
  };
}

async function isInstalled(program: string): Promise<boolean> {
  for (const folder of ['/usr/bin', '/usr/sbin', '/bin', '/sbin', '/usr/local/bin', '/usr/local/sbin']) {
    try {
      await access(join(folder, program), constants.X_OK);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'EACCES') throw error;
    }
  }
  return false;
}
