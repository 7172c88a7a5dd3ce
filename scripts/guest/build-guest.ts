/**
 * Builds a tiny Linux guest for tests, benchmarks and the quickstart: Debian's cloud kernel, and an initramfs of
 * busybox, the kernel's virtio modules and the QEMU guest agent. What the guest does is in rootfs/: a shell on the
 * serial console that greets with `virtctl-guest ready boots=N`, the first disk on /data with a boot counter, DHCP on
 * every network card, the guest agent when its port is there, and an orderly end when the power button is pressed.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { text } from 'node:stream/consumers';
import { cpioArchive, type CpioEntry } from './cpio-archive.ts';
import { modulesInOrder } from './kernel-modules.ts';

/** A guest that is ready to boot. */
export interface Guest {
  /** The kernel's path, for `<os><kernel>`. */
  readonly kernel: string;
  /** The initramfs' path, for `<os><initrd>`. */
  readonly initrd: string;
  /** For `<os><cmdline>`. */
  readonly cmdline: string;
}

const modules = [
  ...['virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod', 'sr_mod', 'isofs', 'virtio_net', 'virtio_console'],
  ...['virtio_balloon', 'virtio_rng', 'virtio_mem', 'button', 'evdev', 'ahci', 'ata_piix', 'e1000', 'qemu_fw_cfg'],
  ...['pvpanic_mmio', 'pvpanic_pci'],
];
const kernelPackages = ['linux-image-cloud-amd64', 'linux-image-amd64'];
const agentPackage = 'qemu-guest-agent';

/**
 * Builds the guest in `dir`, or takes what an earlier call built there from the same sources. Several processes may
 * call it for the same folder at once.
 *
 * @param dir Kept between calls; about 25 MB.
 * @throws Error when apt cannot fetch the kernel or a program is missing.
 */
export async function buildGuest(dir: string): Promise<Guest> {
  const rootfs = new URL('rootfs', import.meta.url).pathname;
  const own = await readTree(rootfs);
  const final = join(dir, await digest(own));
  // Without no_timer_check the kernel counts ticks of the emulated timer as it boots, and panics ("IO-APIC + timer doesn't
  // work!") where QEMU had too little of a busy host meanwhile.
  const cmdline = 'console=ttyS0 quiet no_timer_check';
  const guest = { kernel: join(final, 'vmlinuz'), initrd: join(final, 'initrd'), cmdline };
  if (await exists(guest.initrd)) return guest;

  await mkdir(dir, { recursive: true });
  const work = await mkdtemp(join(dir, 'building-'));
  try {
    const tree = join(work, 'tree');
    await download(work, tree);
    const release = (await readdir(join(tree, 'lib/modules')))[0];
    if (release === undefined) throw new Error('the kernel package has no modules');
    const kernelModules = await modulesInOrder(join(tree, 'lib/modules', release), modules);
    const entries: CpioEntry[] = [
      { kind: 'character', path: 'dev/console', mode: 0o600, device: [5, 1] },
      ...own,
      await fileEntry('bin/busybox', '/bin/busybox', 0o755),
      { kind: 'symlink', path: 'bin/sh', target: 'busybox' },
      ...(await Promise.all(kernelModules.map((path) => fileEntry(`lib/modules/${basename(path)}`, path, 0o644)))),
      textEntry('lib/modules/order', kernelModules.map((path) => `${basename(path)}\n`).join('')),
      await fileEntry('usr/sbin/qemu-ga', join(tree, 'usr/sbin/qemu-ga'), 0o755),
      ...(await librariesOf(join(tree, 'usr/sbin/qemu-ga'))),
    ];
    const done = join(work, 'done');
    await mkdir(done);
    // Not compressed: unpacking costs an emulated processor more than reading.
    await writeFile(join(done, 'initrd'), cpioArchive([...directoriesOf(entries), ...entries]));
    await copyFile(join(tree, 'boot', `vmlinuz-${release}`), join(done, 'vmlinuz'));
    await rename(done, final).catch((error: unknown) => {
      // Somebody else finished the same build first.
      if (!['EEXIST', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return guest;
}

async function digest(entries: readonly CpioEntry[]): Promise<string> {
  const hash = createHash('sha256').update(await readFile(new URL(import.meta.url)));
  for (const entry of entries) if (entry.kind === 'file') hash.update(entry.path).update(entry.data);
  return hash.digest('hex').slice(0, 16);
}

/** Fetches kernel and agent from Debian's archive and unpacks them below `tree`. */
async function download(work: string, tree: string): Promise<void> {
  const kernel =
    (await kernelPackage(work)) ?? (await run('apt-get', ['update', '-qq'], work), await kernelPackage(work));
  if (kernel === undefined) throw new Error(`apt knows none of ${kernelPackages.join(', ')}`);
  await run('apt-get', ['download', '-qq', kernel, agentPackage], work);
  for (const file of (await readdir(work)).filter((name) => name.endsWith('.deb'))) {
    await run('dpkg-deb', ['-x', file, tree], work);
  }
}

async function kernelPackage(cwd: string): Promise<string | undefined> {
  for (const meta of kernelPackages) {
    const found = /Depends: (linux-image-\S+)/.exec(await run('apt-cache', ['depends', meta], cwd))?.[1];
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The shared libraries of a program, at the paths where its loader looks for them. */
async function librariesOf(program: string): Promise<CpioEntry[]> {
  const listing = await run('ldd', [program], '/');
  const missing = /(\S+) => not found/.exec(listing)?.[1];
  if (missing !== undefined) throw new Error(`${basename(program)} needs ${missing}, which is not installed`);
  const paths = [...listing.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] ?? '');
  return Promise.all(paths.map((path) => fileEntry(path.slice(1), path, 0o755)));
}

async function readTree(root: string): Promise<CpioEntry[]> {
  const found = await readdir(root, { recursive: true, withFileTypes: true });
  const paths = found.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(
    paths.sort().map(async (path) => {
      const name = relative(root, path);
      const data = await readFile(path);
      return { kind: 'file', path: name, mode: data.subarray(0, 2).toString() === '#!' ? 0o755 : 0o644, data } as const;
    }),
  );
}

async function fileEntry(path: string, source: string, mode: number): Promise<CpioEntry> {
  return { kind: 'file', path, mode, data: await readFile(source) };
}

const textEntry = (path: string, content: string): CpioEntry => ({
  kind: 'file',
  path,
  mode: 0o644,
  data: Buffer.from(content),
});

/** Every directory that the entries need, and the empty ones that /init mounts on; parents first. */
function directoriesOf(entries: readonly CpioEntry[]): CpioEntry[] {
  const found = new Set(['sbin', 'usr', 'usr/bin', 'usr/sbin', 'root', 'proc', 'sys', 'dev', 'run', 'tmp', 'data']);
  for (const { path } of entries) {
    for (let at = dirname(path); at !== '.'; at = dirname(at)) found.add(at);
  }
  return [...found].sort().map((path) => ({ kind: 'directory', path, mode: 0o755 }));
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function run(program: string, args: readonly string[], cwd: string): Promise<string> {
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const [output, complaint, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${String(status)}: ${complaint.trim()}`);
  return output;
}
