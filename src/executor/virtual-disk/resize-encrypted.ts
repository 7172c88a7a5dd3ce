import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FailedError } from '../../base/errors.ts';

/** How much of what qemu-img says is kept for the error, in bytes. */
const maxOutputBytes = 4096;

/**
 * Resizes a LUKS volume that nobody runs on. libvirt forgets which secret a volume has whenever it looks at the pool afresh,
 * and then refuses to resize it ("no secret provided for luks encryption"), so that qemu-img is asked itself; it takes QEMU's
 * own lock. The key reaches it through a file that is removed before it is written to.
 *
 * @param folder Where that file is for a moment.
 * @throws FailedError with qemu-img's words.
 */
export async function resizeEncrypted(
  volume: { readonly path: string; readonly format: string },
  options: { readonly bytes: number; readonly shrink: boolean; readonly passphrase: Buffer; readonly folder: string },
  signal: AbortSignal,
): Promise<void> {
  const { bytes, shrink, passphrase, folder } = options;
  await mkdir(folder, { recursive: true, mode: 0o711 });
  const file = join(folder, `.key-${randomUUID()}`);
  const key = await open(file, 'wx+', 0o600);
  try {
    await rm(file);
    await key.write(passphrase, 0, passphrase.length, 0);
    const isQcow2 = volume.format === 'qcow2';
    const image = {
      driver: isQcow2 ? 'qcow2' : 'luks',
      ...(isQcow2 ? { 'encrypt.key-secret': 'key' } : { 'key-secret': 'key' }),
      'file.filename': volume.path,
    };
    await run(
      [
        'resize',
        ...(shrink ? ['--shrink'] : []),
        ...['--object', 'secret,id=key,file=/proc/self/fd/3', '--image-opts', optionsText(image), String(bytes)],
      ],
      key.fd,
      signal,
    );
  } finally {
    await key.close();
  }
}

/** QEMU's own way to write options: a comma within a value is doubled. */
function optionsText(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${value.replaceAll(',', ',,')}`)
    .join(',');
}

async function run(args: readonly string[], key: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const child = spawn('qemu-img', args, { stdio: ['ignore', 'ignore', 'pipe', key], signal, timeout: 10 * 60_000 });
    let said = '';
    child.stderr?.setEncoding('utf8');
    child.stderr?.on('data', (text: string) => (said = (said + text).slice(-maxOutputBytes)));
    child.on('error', (cause) => reject(new FailedError('cannot run qemu-img', { cause })));
    child.on('close', (code, killed) => {
      if (code === 0) resolve();
      else reject(new FailedError(`qemu-img resize ended with ${killed ?? String(code)}: ${said.trim()}`));
    });
  });
}
