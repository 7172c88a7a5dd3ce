/**
 * Finds out whether KVM works on a node. `/dev/kvm` proves nothing: nested or emulated, it may open and yet refuse
 * MSRs, hang in the firmware, or run no instruction at all. So a small guest with the host's own CPU model goes through
 * the whole firmware and boots a disk of a dozen instructions that writes to its serial port for ever; when the letter
 * arrives, KVM can do what real guests need.
 *
 *   createXml(type=kvm, autodestroy) ──▶ open console ──▶ 'K' arrives ──▶ usable
 *        └─ libvirt refuses ──▶ unusable, in its words        └─ nothing within the deadline ──▶ unusable
 */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withDeadline } from '../../base/abort.ts';
import { TimedOutError, toError } from '../../base/errors.ts';
import { render } from '../../convertor/render.ts';
import { LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';
import type { LibvirtStream } from '../../libvirt/stream.ts';

/** What {@link probeKvm} found. */
export interface KvmProbe {
  readonly usable: boolean;
  /** For people: why not, in libvirt's words where it has any. */
  readonly message: string;
}

/** What {@link probeKvm} needs. */
export interface KvmProbeOptions {
  /** A folder of this host that QEMU can read; the probe's disk is written there. */
  readonly folder: string;
  /** Goes into the probe's name, so that two probes do not meet: 8 hexadecimal digits. */
  readonly id: string;
  readonly signal: AbortSignal;
  /** Milliseconds from the start of the guest to its first letter. Ten seconds; a sound KVM needs less than one. */
  readonly deadlineMs?: number;
  /** `kvm`; tests prove the probe itself with `qemu`. */
  readonly type?: 'kvm' | 'qemu';
}

/** The letter that the probe's disk writes. */
const letter = 0x4b;
/** Smaller disks have no cylinder, and SeaBIOS does not boot them. */
const diskBytes = 1024 * 1024;

/**
 * Probes a node; x86-64 only, where others are told by libvirt's domain capabilities alone.
 *
 * @throws what the connection to libvirt throws when it is lost, and the signal's reason. That KVM does not work is an
 *   answer, not an error.
 */
export async function probeKvm(libvirt: Libvirt, options: KvmProbeOptions): Promise<KvmProbe> {
  const { folder, id, signal, deadlineMs = 10_000, type = 'kvm' } = options;
  const disk = await writeDisk(folder);
  const xml = render('domain', {
    type,
    name: `virtctl-kvm-probe-${id}`,
    memory: { unit: 'MiB', value: 64 },
    vcpu: { value: 1 },
    os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
    features: { acpi: {}, apic: {} },
    ...(type === 'kvm' ? { cpu: { mode: 'host-passthrough' } } : {}),
    on_reboot: 'destroy',
    on_crash: 'destroy',
    devices: {
      controller: [{ type: 'usb', model: 'none' }],
      memballoon: { model: 'none' },
      serial: [{ type: 'pty' }],
      disk: [
        {
          type: 'file',
          device: 'disk',
          driver: { name: 'qemu', type: 'raw' },
          source: { file: disk },
          target: { dev: 'vda', bus: 'virtio' },
          readonly: {},
        },
      ],
    },
  });
  let domain: Domain;
  try {
    // Autodestroy: should this process die, the guest goes with its connection.
    domain = await libvirt.domains.createXml(xml, { autodestroy: true, signal, timeoutMs: 30_000 });
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    return { usable: false, message: error.message };
  }
  try {
    await withDeadline('a guest to boot under KVM', deadlineMs, signal, (inner) => readLetter(domain, inner));
    return { usable: true, message: 'a guest booted under KVM' };
  } catch (error) {
    if (signal.aborted) throw toError(signal.reason);
    if (error instanceof TimedOutError) {
      return {
        usable: false,
        message: `/dev/kvm is there, but a guest did not boot within ${deadlineMs / 1000} s`,
      };
    }
    if (error instanceof LibvirtError) return { usable: false, message: error.message };
    throw error;
  } finally {
    await endProbe(domain);
  }
}

/** Reads the serial port until the letter arrives. */
async function readLetter(domain: Domain, signal: AbortSignal): Promise<void> {
  const stream: LibvirtStream = await domain.openConsole({ signal });
  const stop = (): void => stream.abort();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const data of stream) if (data.includes(letter)) return;
    signal.throwIfAborted();
    throw new TimedOutError('the guest ended before it wrote anything');
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function endProbe(domain: Domain): Promise<void> {
  try {
    await domain.destroy({ timeoutMs: 30_000 });
  } catch (error) {
    // It ended by itself, which is as good; anything else is autodestroy's to clean up when the connection closes.
    if (!(error instanceof LibvirtError)) throw error;
  }
}

/** Writes the disk, whole or not at all, and gives its path. */
async function writeDisk(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'kvm-probe.img');
  await writeFile(`${path}.new`, probeDisk(), { mode: 0o644 });
  await rename(`${path}.new`, path);
  return path;
}

/** A disk whose boot sector writes the letter to the first serial port again and again. */
export function probeDisk(): Uint8Array {
  const disk = new Uint8Array(diskBytes);
  // mov dx, 0x3f8; again: mov al, 'K'; out dx, al; mov cx, 0xffff; wait: loop wait; jmp again
  disk.set([0xba, 0xf8, 0x03, 0xb0, letter, 0xee, 0xb9, 0xff, 0xff, 0xe2, 0xfe, 0xeb, 0xf6], 0);
  // The mark of a boot sector.
  disk.set([0x55, 0xaa], 510);
  return disk;
}
