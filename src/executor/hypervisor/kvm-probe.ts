/**
 * Finds out whether KVM works on a node. `/dev/kvm` proves nothing: nested or emulated, it may open and yet refuse
 * MSRs, or run no instruction at all. So a guest of 32 MiB starts from a ROM of a dozen instructions that writes to its
 * serial port for ever; when the letter arrives, a virtual CPU has executed.
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
  /** A folder of this host that QEMU can read; the ROM is written there. */
  readonly folder: string;
  /** Goes into the probe's name, so that two probes do not meet: 8 hexadecimal digits. */
  readonly id: string;
  readonly signal: AbortSignal;
  /** Milliseconds from the start of the guest to its first letter. Ten seconds. */
  readonly deadlineMs?: number;
  /** `kvm`; tests prove the probe itself with `qemu`. */
  readonly type?: 'kvm' | 'qemu';
}

/** The letter that the ROM writes. */
const letter = 0x4b;
const romBytes = 64 * 1024;

/**
 * Probes a node; x86-64 only, where others are told by libvirt's domain capabilities alone.
 *
 * @throws what the connection to libvirt throws when it is lost, and the signal's reason. That KVM does not work is an
 *   answer, not an error.
 */
export async function probeKvm(libvirt: Libvirt, options: KvmProbeOptions): Promise<KvmProbe> {
  const { folder, id, signal, deadlineMs = 10_000, type = 'kvm' } = options;
  const rom = await writeRom(folder);
  const xml = render('domain', {
    type,
    name: `virtctl-kvm-probe-${id}`,
    memory: { unit: 'MiB', value: 32 },
    vcpu: { value: 1 },
    os: { type: { arch: 'x86_64', machine: 'pc', value: 'hvm' }, loader: { type: 'rom', value: rom } },
    on_reboot: 'destroy',
    on_crash: 'destroy',
    devices: {
      controller: [{ type: 'usb', model: 'none' }],
      memballoon: { model: 'none' },
      serial: [{ type: 'pty' }],
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
    await withDeadline('the first instruction of a guest under KVM', deadlineMs, signal, (inner) =>
      readLetter(domain, inner),
    );
    return { usable: true, message: 'a guest executed under KVM' };
  } catch (error) {
    if (signal.aborted) throw toError(signal.reason);
    if (error instanceof TimedOutError) {
      return {
        usable: false,
        message: `/dev/kvm is there, but a guest executed nothing within ${deadlineMs / 1000} s`,
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

/** Writes the ROM, whole or not at all, and gives its path. */
async function writeRom(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'kvm-probe.rom');
  await writeFile(`${path}.new`, probeRom(), { mode: 0o644 });
  await rename(`${path}.new`, path);
  return path;
}

/** A firmware of 64 KiB for real mode that writes the letter to the first serial port again and again. */
export function probeRom(): Uint8Array {
  const rom = new Uint8Array(romBytes).fill(0xf4);
  // mov dx, 0x3f8; again: mov al, 'K'; out dx, al; mov cx, 0xffff; wait: loop wait; jmp again
  rom.set([0xba, 0xf8, 0x03, 0xb0, letter, 0xee, 0xb9, 0xff, 0xff, 0xe2, 0xfe, 0xeb, 0xf6], 0);
  // The reset vector, 16 bytes below the end: jmp 0xf000:0x0000
  rom.set([0xea, 0x00, 0x00, 0x00, 0xf0], romBytes - 16);
  return rom;
}
