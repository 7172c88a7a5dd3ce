import { randomBytes } from 'node:crypto';
import { access, constants, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Check, Finding } from './check.ts';
import { oneLine } from './check.ts';
import { formatBytesRounded } from '../../api/quantity.ts';
import { kvmDeviceProblem, type KvmDeviceProblem } from '../../executor/hypervisor/kvm-device.ts';
import { probeKvm, type KvmProbe } from '../../executor/hypervisor/kvm-probe.ts';
import { ConnectionError, isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';

/** The oldest libvirt and QEMU that machines are tested with. */
const oldest = { libvirt: [8, 0, 0], qemu: [6, 2, 0] } as const;
const lowSpaceBytes = 2 * 2 ** 30;
const lowSpaceShare = 0.05;

/** What of the host itself is looked at; tests give others. */
export interface HostProbes {
  readonly kvmDevice: () => Promise<KvmDeviceProblem | undefined>;
  readonly kvm: (libvirt: Libvirt, signal: AbortSignal) => Promise<KvmProbe>;
  /** Where programs may be. */
  readonly programFolders: readonly string[];
}

const thisHost: HostProbes = {
  kvmDevice: () => kvmDeviceProblem(),
  async kvm(libvirt, signal) {
    const folder = join(tmpdir(), `virtctl-doctor-${randomBytes(4).toString('hex')}`);
    try {
      return await probeKvm(libvirt, { folder, id: randomBytes(4).toString('hex'), signal });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  programFolders: ['/usr/bin', '/usr/sbin', '/bin', '/sbin', '/usr/local/bin', '/usr/local/sbin'],
};

/**
 * The checks of this host. They share one connection.
 *
 * @param open Connects to the libvirt at `uri`; called once.
 */
export function nodeChecks(
  uri: string,
  open: (signal: AbortSignal) => Promise<Libvirt>,
  host = thisHost,
): { readonly checks: readonly Check[]; readonly close: () => Promise<void> } {
  let connected: Libvirt | undefined;
  const withLibvirt = (
    name: string,
    fix: string,
    work: (libvirt: Libvirt, signal: AbortSignal) => Promise<Finding>,
  ): Check => ({
    name,
    fix,
    run: async (signal) =>
      connected === undefined ? { status: 'skip', message: 'needs libvirt' } : work(connected, signal),
  });
  const checks: Check[] = [
    {
      name: 'libvirt is reachable',
      fix: installLibvirt,
      async run(signal) {
        try {
          connected = await open(signal);
        } catch (error) {
          if (!(error instanceof ConnectionError)) throw error;
          return { status: 'fail', message: oneLine(error.message), fix: installLibvirt };
        }
        return { status: 'ok', message: `${uri} on ${await connected.node.hostname({ signal })}` };
      },
    },
    withLibvirt('versions', lookAtDaemon, checkVersions),
    withLibvirt('KVM works', lookAtDaemon, (one, signal) => checkKvm(one, host, signal)),
    withLibvirt('processor and memory', lookAtDaemon, checkResources),
    withLibvirt('storage pool "default"', lookAtDaemon, checkDefaultPool),
    withLibvirt('space in the pools', 'virsh pool-refresh, or virsh pool-destroy what is gone', checkSpace),
    {
      name: 'programs beside libvirt',
      fix: 'see that this user may look into /usr/bin',
      run: () => checkPrograms(host.programFolders),
    },
  ];
  return { checks, close: async () => connected?.close() };
}

const installLibvirt =
  'systemctl start libvirtd (or virtqemud), or apt-get install libvirt-daemon-system; --connect says where it is';
const lookAtDaemon = 'journalctl -u libvirtd (or virtqemud) tells more';

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

async function checkKvm(libvirt: Libvirt, host: HostProbes, signal: AbortSignal): Promise<Finding> {
  const emulation = "or set spec.allowEmulation on the node's Hypervisor and accept slow guests";
  const device = await host.kvmDevice();
  if (device?.problem === 'missing') {
    return { status: 'warn', message: device.message, fix: `${device.fix}; ${emulation}` };
  }
  const { usable, message } = await host.kvm(libvirt, signal);
  if (usable && device === undefined) return { status: 'ok', message };
  if (usable) return { status: 'warn', message: `${message}, but ${device?.message ?? ''}`, fix: device?.fix ?? '' };
  const words = `/dev/kvm is there, but guests cannot run: ${oneLine(message)}`;
  if (device !== undefined) return { status: 'warn', message: `${words}; ${device.message}`, fix: device.fix };
  const fix = `enable virtualisation in the firmware, or nested virtualisation on the outer host; ${emulation}`;
  return { status: 'warn', message: words, fix };
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

async function checkPrograms(folders: readonly string[]): Promise<Finding> {
  const missing: string[] = [];
  for (const program of Object.keys(programs)) if (!(await isInstalled(program, folders))) missing.push(program);
  if (missing.length === 0) return { status: 'ok', message: Object.keys(programs).join(', ') };
  return {
    status: 'warn',
    message: missing.map((name) => `${name} is missing (${programs[name]?.use ?? ''})`).join('; '),
    fix: `apt-get install ${missing.map((name) => programs[name]?.package ?? name).join(' ')}`,
  };
}

async function isInstalled(program: string, folders: readonly string[]): Promise<boolean> {
  for (const folder of folders) {
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
