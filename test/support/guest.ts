/**
 * A tiny Linux guest for tests (see scripts/guest/): at its shell on the serial console 3 to 4 seconds after start
 * under TCG. It prints `virtctl-guest ready boots=N` (N counts on the first disk, `none` without one), takes DHCP,
 * runs the guest agent, brings hot-plugged processors and memory online, ends on the power button.
 *
 *     const xml = guestXml(await testGuest(), { name: 'web', disks: ['/path/of/32M.qcow2'], network: 'default' });
 *
 * The first disk is mounted on /data and given a file system when it is blank: `qemu-img create -f qcow2 X 32M` is
 * enough. The console's prompt is `guest# `.
 */
import { join } from 'node:path';
import { create } from 'xmlbuilder2';
import { buildGuest, type Guest } from '../../scripts/guest/build-guest.ts';

export type { Guest };

/** The guest's kernel and initramfs, built once and kept in node_modules/.cache. */
export function testGuest(): Promise<Guest> {
  return buildGuest(join(import.meta.dirname, '../../node_modules/.cache/virtctl-guest'));
}

/** What {@link guestXml} can be asked for. */
export interface GuestOptions {
  readonly name: string;
  readonly uuid?: string;
  /** Paths of qcow2 files, which become vda, vdb, … */
  readonly disks?: readonly string[];
  /** A libvirt network for the one network card. */
  readonly network?: string;
  readonly mac?: string;
  /** Default 256. */
  readonly memoryMiB?: number;
  /** Default 1. */
  readonly vcpus?: number;
  /** How many processors can be plugged in; default as `vcpus`. */
  readonly maxVcpus?: number;
  /** Whether to have the guest agent's port; default true. */
  readonly agent?: boolean;
  /** Further elements of `<devices>`, as xmlbuilder2's objects: `{ watchdog: { '@model': 'ib700' } }`. */
  readonly devices?: Readonly<Record<string, unknown>>;
  /** Further elements of `<domain>`. */
  readonly domain?: Readonly<Record<string, unknown>>;
}

/** The XML of a domain that boots the guest under emulation (`type='qemu'`, q35). */
export function guestXml(guest: Guest, options: GuestOptions): string {
  const disks = (options.disks ?? []).map((file, index) => ({
    '@type': 'file',
    '@device': 'disk',
    driver: { '@name': 'qemu', '@type': 'qcow2' },
    source: { '@file': file },
    target: { '@dev': `vd${String.fromCharCode(97 + index)}`, '@bus': 'virtio' },
  }));
  const card = {
    '@type': 'network',
    source: { '@network': options.network },
    ...(options.mac === undefined ? {} : { mac: { '@address': options.mac } }),
    model: { '@type': 'virtio' },
  };
  const port = { '@type': 'unix', target: { '@type': 'virtio', '@name': 'org.qemu.guest_agent.0' } };
  const vcpus = options.vcpus ?? 1;
  const { devices, domain, ...document } = {
    '@type': 'qemu',
    name: options.name,
    ...(options.uuid === undefined ? {} : { uuid: options.uuid }),
    memory: { '@unit': 'MiB', '#': options.memoryMiB ?? 256 },
    vcpu: { '@current': vcpus, '#': options.maxVcpus ?? vcpus },
    os: {
      type: { '@arch': 'x86_64', '@machine': 'q35', '#': 'hvm' },
      kernel: guest.kernel,
      initrd: guest.initrd,
      cmdline: guest.cmdline,
    },
    features: { acpi: {} },
    devices: {
      disk: disks,
      ...(options.network === undefined ? {} : { interface: card }),
      serial: { '@type': 'pty' },
      console: { '@type': 'pty' },
      ...(options.agent === false ? {} : { channel: port }),
      ...options.devices,
    },
    domain: options.domain ?? {},
  };
  return create({ domain: { ...document, ...domain, devices } }).end({ headless: true });
}
