/**
 * Files that a machine's volumes need on the node: images of cloud-init, ConfigMaps and Secrets, and empty disks. They lie
 * in one folder per machine, named by its UID, which goes with the machine.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, mkdir, mkdtemp, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FailedError } from '../../base/errors.ts';

/** A file in an image. */
export interface ImageFile {
  readonly name: string;
  readonly content: Uint8Array | string;
}

/** The formats of empty disks. */
export type EmptyDiskFormat = 'qcow2' | 'raw';

/** Both, in the order in which they are looked for. */
const emptyDiskFormats: readonly EmptyDiskFormat[] = ['qcow2', 'raw'];

/** How files are called that are made here; names of volumes have no dots. */
const madeNames = /^[^.]+(\.iso|(\.overlay)?\.qcow2|\.raw)$/;

/** The files of machines on this node. */
export class Media {
  readonly #folder: string;
  readonly #isDry: boolean;

  /**
   * @param folder An absolute path, as /var/lib/virtctl/machines.
   * @param isDry Only name the files; make and remove none.
   */
  constructor(folder: string, isDry = false) {
    this.#folder = folder;
    this.#isDry = isDry;
  }

  /** Whether files are only named. */
  get isDry(): boolean {
    return this.#isDry;
  }

  /** The folder of a machine. */
  folderOf(uid: string): string {
    if (!/^[A-Za-z0-9-]{1,64}$/.test(uid)) throw new FailedError(`"${uid}" cannot be a UID`);
    return join(this.#folder, uid);
  }

  /**
   * An ISO 9660 image (Rock Ridge and Joliet) with these files. Made anew when they change, under another name: the guest
   * sees a changed medium.
   *
   * @param label The volume label: `cidata` for NoCloud, `config-2` for ConfigDrive.
   * @returns Its path.
   */
  async image(
    uid: string,
    volume: string,
    label: string,
    files: readonly ImageFile[],
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const hash = createHash('sha256').update(label);
    for (const { name, content } of files) hash.update(`\0${name}\0`).update(content);
    const folder = this.folderOf(uid);
    const path = join(folder, `${volume}-${hash.digest('hex').slice(0, 16)}.iso`);
    if (this.#isDry || (await exists(path))) return path;
    await mkdir(folder, { recursive: true, mode: 0o711 });
    const work = await mkdtemp(join(folder, '.image-'));
    try {
      const source = join(work, 'files');
      await mkdir(source);
      for (const { name, content } of files) {
        if (!isFileName(name)) {
          throw new FailedError(`"${name}" cannot be the name of a file in an image`);
        }
        await mkdir(join(source, name, '..'), { recursive: true });
        await writeFile(join(source, name), content);
      }
      const made = join(work, 'image.iso');
      await run(
        'genisoimage',
        ['-quiet', '-output', made, '-volid', label, '-joliet', '-rock', '-input-charset', 'utf-8', source],
        signal,
      );
      // libvirt gives it to QEMU's user when the machine starts; nobody else may read what may be secret.
      await chmod(made, 0o600);
      await rename(made, path);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    return path;
  }

  /** An empty disk, made when it is not there yet. */
  async emptyDisk(
    uid: string,
    volume: string,
    format: EmptyDiskFormat,
    bytes: bigint,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const folder = this.folderOf(uid);
    const path = join(folder, `${volume}.${format}`);
    if (this.#isDry || (await exists(path))) return path;
    await mkdir(folder, { recursive: true, mode: 0o711 });
    const made = `${path}.new`;
    await run('qemu-img', ['create', '-q', '-f', format, made, String(bytes)], signal);
    await rename(made, path);
    return path;
  }

  /** The empty disk of this name, in whichever format it was made; undefined where there is none. */
  async findEmptyDisk(
    uid: string,
    volume: string,
  ): Promise<{ readonly path: string; readonly format: EmptyDiskFormat; readonly bytes: number } | undefined> {
    for (const format of emptyDiskFormats) {
      const path = join(this.folderOf(uid), `${volume}.${format}`);
      if (await exists(path)) return { path, format, bytes: await virtualBytes(path, format) };
    }
    return undefined;
  }

  /** Makes an empty disk larger that no guest has open; QEMU's lock refuses it where one has. */
  async growEmptyDisk(path: string, format: string, bytes: number, signal: AbortSignal): Promise<void> {
    await run('qemu-img', ['resize', '-q', '-f', format, path, String(bytes)], signal);
  }

  /**
   * An overlay over an image that is not to be written to.
   *
   * @param base With `isNew`, what was written to the overlay before is thrown away.
   */
  async overlay(
    uid: string,
    volume: string,
    base: { readonly path: string; readonly format: string; readonly isNew: boolean },
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const folder = this.folderOf(uid);
    const path = join(folder, `${volume}.overlay.qcow2`);
    if (this.#isDry || (!base.isNew && (await exists(path)))) return path;
    await mkdir(folder, { recursive: true, mode: 0o711 });
    const args = ['create', '-q', '-f', 'qcow2', '-b', base.path, '-F', base.format, `${path}.new`];
    await run('qemu-img', args, signal);
    await rename(`${path}.new`, path);
    return path;
  }

  /**
   * Removes what was made for volumes of a machine and is no longer used, by its name: what somebody else laid there (`virsh
   * snapshot-create-as` puts `VOLUME.SNAPSHOT` beside a disk) may be what one that is off lies over.
   */
  async prune(uid: string, used: ReadonlySet<string>): Promise<void> {
    const folder = this.folderOf(uid);
    if (this.#isDry || !(await exists(folder))) return;
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      if (madeNames.test(name) && !used.has(path)) await rm(path, { force: true });
    }
  }

  /** Removes everything of a machine. */
  async remove(uid: string): Promise<void> {
    await rm(this.folderOf(uid), { recursive: true, force: true });
  }
}

/** Whether it names a file below a folder: keys of ConfigMaps and Secrets, and the paths of cloud-init. */
function isFileName(name: string): boolean {
  return /^[A-Za-z0-9._/-]+$/.test(name) && name.split('/').every((part) => !['', '.', '..'].includes(part));
}

/** How large the guest sees it, in bytes; as quick to read as the file's size, since it is read with each reconcile. */
async function virtualBytes(path: string, format: EmptyDiskFormat): Promise<number> {
  if (format === 'raw') return (await stat(path)).size;
  const file = await open(path, 'r');
  try {
    // docs/interop/qcow2.txt of QEMU: magic, version, backing file's place and length, cluster bits, size. No guest writes it.
    const { buffer, bytesRead } = await file.read(Buffer.alloc(32), 0, 32, 0);
    if (bytesRead < 32 || buffer.toString('latin1', 0, 4) !== 'QFI\xfb') {
      throw new FailedError(`${path} is no qcow2 file, and was made as one`);
    }
    return Number(buffer.readBigUInt64BE(24));
  } finally {
    await file.close();
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path, constants.F_OK);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** Longest output of a program that is kept for its error. */
const maxOutputBytes = 4096;

/** Runs a program with an argument array; no shell. */
async function run(program: string, args: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: 120_000,
      ...(signal === undefined ? {} : { signal }),
    });
    let said = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text: string) => (said = (said + text).slice(-maxOutputBytes)));
    child.on('error', (cause) => reject(new FailedError(`cannot run ${program}`, { cause })));
    child.on('close', (code, killed) => {
      if (code === 0) resolve();
      else reject(new FailedError(`${program} ended with ${killed ?? String(code)}: ${said.trim()}`));
    });
  });
}
