/**
 * From nothing to a running guest, on a plain Debian or Ubuntu machine: `npm run quickstart`. Installs what is missing,
 * starts libvirtd and `virtctl standalone` where nobody did, boots a tiny Linux in a machine, changes it while it runs,
 * restarts it. Run again, it uses what is there. `npm run quickstart -- --clean` takes everything away that it made.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildGuest } from './guest/build-guest.ts';
import { installPackages } from './install-packages.ts';

const root = join(import.meta.dirname, '..');
const virtctl = join(root, 'dist/virtctl.js');
const tsx = join(root, 'node_modules/tsx/dist/cli.mjs');
const base = '/var/lib/virtctl';
const folder = join(base, 'quickstart');
const data = join(base, 'standalone');
const kubeconfig = join(data, 'kubeconfig');
const notesFile = join(folder, 'started.json');
const serialLog = '/var/log/libvirt/qemu/virtctl-quickstart-serial.log';
const name = 'quickstart';
/** How long each thing that is waited for may take, in milliseconds. */
const patienceMs = 90_000;

/** What this script started, and so stops again. */
interface Notes {
  libvirtd?: 'systemd' | 'process';
  virtlogd?: 'process';
  standalone?: boolean;
  /** The mode and group that /dev/kvm had. */
  kvm?: { readonly mode: number; readonly gid: number };
}

const packages: Readonly<Record<string, string>> = {
  'libvirt-daemon-system': '/usr/sbin/libvirtd',
  'libvirt-daemon-driver-qemu': '/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so',
  'libvirt-clients': '/usr/bin/virsh',
  'qemu-system-x86': '/usr/bin/qemu-system-x86_64',
  'qemu-utils': '/usr/bin/qemu-img',
  'busybox-static': '/usr/bin/busybox',
};

if (process.arch !== 'x64') fail('the quickstart is for x86-64 machines');
if (process.getuid?.() !== 0) {
  // libvirt's system instance is root's.
  const again = spawnSync('sudo', [process.execPath, tsx, import.meta.filename, ...process.argv.slice(2)], {
    stdio: 'inherit',
  });
  if (again.error !== undefined) fail(`the quickstart is for root, and sudo cannot be run: ${again.error.message}`);
  process.exit(again.status ?? 1);
}
const notes: Notes = existsSync(notesFile) ? (JSON.parse(readFileSync(notesFile, 'utf8')) as Notes) : {};
if (process.argv.includes('--clean')) await clean();
else await start();

async function start(): Promise<void> {
  installPackages(packages, 'the quickstart');
  if (isStale()) must(process.execPath, [tsx, join(root, 'scripts/build.ts')]);
  // QEMU's own user passes through it; the API server's folder in it is root's alone.
  for (const one of [base, folder]) mkdirSync(one, { recursive: true, mode: 0o755 });
  await startLibvirt();
  const guest = buildGuest(join(folder, 'guest')).catch((error: unknown) =>
    fail(`cannot build the guest: ${error instanceof Error ? error.message : String(error)}`),
  );
  await startStandalone();
  await allowEmulation();
  const { kernel, initrd, cmdline } = await guest;
  const disk = join(folder, 'disk.qcow2');
  if (!existsSync(disk)) must('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '32M']);
  const manifest = join(folder, 'vm.json');
  writeFileSync(manifest, JSON.stringify(machine({ kernel, initrd, cmdline, disk }), undefined, 2));
  const before = greetings().length;
  const exists = ours(['get', 'vm', name]).status === 0;
  if (exists) show(['start', name]);
  else show(['apply', '-f', manifest]);
  await until('the guest to greet', () => greetings().length > (exists ? 0 : before) || undefined);
  await until('the machine to be Running', () => ours(['get', 'vm', name]).stdout.includes('Running') || undefined);
  show(['get', 'vm', '-o', 'wide']);
  show(['logs', name], /virtctl-guest ready.*/g);
  show(['set', 'vm', name, '--cpus', '2']);
  show(['get', 'vm', name, '-o', 'wide']);
  const boots = greetings().length;
  show(['restart', name]);
  await until('the guest to greet again', () => greetings().length > boots || undefined);
  show(['logs', name], /virtctl-guest ready.*/g);
  const elsewhere = process.env['KUBECONFIG'] !== undefined || existsSync(join(homedir(), '.kube/config'));
  process.stdout.write(
    `Done: a Linux guest runs, and goes on running whatever becomes of virtctl.\n\nNext, as root:\n` +
      (elsewhere ? `  export KUBECONFIG=${kubeconfig}      (you have another one, which comes first)\n` : '') +
      `  alias virtctl="node ${virtctl}"\n` +
      `  virtctl console ${name}            its console; Ctrl+] leaves it\n` +
      `  virtctl describe vm ${name}        everything about it, and what happened\n` +
      `  virtctl stop ${name}; virtctl why ${name}\n` +
      `  virtctl --help\n` +
      `Files: ${folder} (standalone.log is the control plane's log)\n` +
      `Take it all away again: npm run quickstart -- --clean\n`,
  );
}

function machine(boot: Readonly<Record<'kernel' | 'initrd' | 'cmdline' | 'disk', string>>): object {
  const { kernel, initrd, cmdline, disk } = boot;
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name, namespace: 'default' },
    spec: {
      runStrategy: 'Always',
      terminationGracePeriodSeconds: 20,
      volumes: [{ name: 'data', hostPath: { path: disk, format: 'qcow2' }, target: { dev: 'vda', bus: 'virtio' } }],
      domain: {
        description: 'made by npm run quickstart',
        memory: { unit: 'MiB', value: 512 },
        currentMemory: { unit: 'MiB', value: 256 },
        vcpu: { current: 1, value: 2 },
        os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' }, kernel, initrd, cmdline },
        features: { acpi: {}, apic: {} },
        devices: {
          serial: [{ type: 'pty', log: { file: serialLog, append: true } }],
          rng: [{ model: 'virtio', backend: { model: 'random', value: '/dev/urandom' } }],
        },
      },
    },
  };
}

/** The lines with which the guest said that it is up, one a boot. */
function greetings(): string[] {
  if (!existsSync(serialLog)) return [];
  return readFileSync(serialLog, 'latin1')
    .split('\n')
    .filter((line) => line.includes('virtctl-guest ready'));
}

async function startLibvirt(): Promise<void> {
  if (libvirtAnswers()) return;
  say('starting libvirtd');
  if (existsSync('/run/systemd/system')) {
    must('systemctl', ['start', 'virtlogd.service', 'libvirtd.service']);
    notes.libvirtd = 'systemd';
  } else {
    shareKvm();
    if (!isAlive('/run/virtlogd.pid')) {
      must('virtlogd', ['-d']);
      notes.virtlogd = 'process';
    }
    must('libvirtd', ['-d', '-p', join(folder, 'libvirtd.pid')]);
    notes.libvirtd = 'process';
  }
  keepNotes();
  await until('libvirtd to answer', () => libvirtAnswers() || undefined);
}

/**
 * Where no udev runs, as in a container, /dev/kvm can be root's alone. libvirt then takes KVM for usable, finds that QEMU
 * cannot open it, and asks QEMU anew what it can at every call: a start takes a minute. So it gets what udev would give it.
 */
function shareKvm(): void {
  const device = '/dev/kvm';
  const gid = Number(/^kvm:[^:]*:(\d+)/m.exec(readFileSync('/etc/group', 'utf8'))?.[1] ?? NaN);
  if (!existsSync(device) || Number.isNaN(gid)) return;
  const { mode, gid: before } = statSync(device);
  if (before === gid && (mode & 0o060) === 0o060) return;
  say(`${device} is root's alone: giving it to the group kvm, as udev does (taken back by --clean)`);
  notes.kvm = { mode: mode & 0o777, gid: before };
  chownSync(device, 0, gid);
  chmodSync(device, 0o660);
}

function libvirtAnswers(): boolean {
  return spawnSync('virsh', ['-c', 'qemu:///system', 'version'], { timeout: 10_000 }).status === 0;
}

async function startStandalone(): Promise<void> {
  if (existsSync(kubeconfig) && ours(['get', 'hypervisors']).status === 0) return;
  say('starting virtctl standalone: the API server and the executor of this machine');
  const log = openSync(join(folder, 'standalone.log'), 'a', 0o600);
  const child = spawn(process.execPath, [virtctl, 'standalone'], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
  });
  if (child.pid === undefined) fail('cannot start virtctl standalone');
  writeFileSync(join(folder, 'standalone.pid'), `${child.pid}\n`);
  notes.standalone = true;
  keepNotes();
  let ended = false;
  child.once('exit', () => {
    ended = true;
  });
  child.unref();
  await until('virtctl standalone to serve', () => {
    if (ended) fail(`virtctl standalone ended; see ${join(folder, 'standalone.log')}`);
    return (existsSync(kubeconfig) && ours(['get', 'hypervisors']).status === 0) || undefined;
  });
}

interface Node {
  readonly metadata: { readonly name: string };
  readonly spec?: { readonly allowEmulation?: boolean };
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
  };
}

/** Machines are not run slowly without a word: where KVM does not work, the node is told to emulate, and the user that it does. */
async function allowEmulation(): Promise<void> {
  const [node, kvm] = await until('the executor to report this node', () => {
    const { stdout, status } = ours(['get', 'hypervisors', '-o', 'json']);
    if (status !== 0) return undefined;
    const list = JSON.parse(stdout) as { readonly items?: readonly Node[] };
    const found = list.items?.[0];
    const condition = found?.status?.conditions?.find(({ type }) => type === 'KVMUsable');
    return found === undefined || condition === undefined || condition.status === 'Unknown'
      ? undefined
      : ([found, condition] as const);
  });
  if (kvm.status === 'True') {
    say('KVM works here: the guest runs at full speed');
    return;
  }
  say(`KVM cannot be used here (${kvm.message ?? 'no reason given'}).`);
  say('The guest is emulated, which is slow: Hypervisor.spec.allowEmulation is set for this node.');
  if (node.spec?.allowEmulation === true) return;
  const file = join(folder, 'node.json');
  const { name: nodeName } = node.metadata;
  const object = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'Hypervisor',
    metadata: { name: nodeName },
    spec: { allowEmulation: true },
  };
  writeFileSync(file, JSON.stringify(object));
  show(['apply', '-f', file]);
}

async function clean(): Promise<void> {
  if (existsSync(kubeconfig) && existsSync(virtctl) && ours(['get', 'hypervisors']).status === 0) {
    if (ours(['get', 'vm', name]).status === 0) show(['delete', 'vm', name, '--force']);
    await until('the machine to be gone', () => ours(['get', 'vm', name]).status === 3 || undefined);
  }
  const others = othersObjects();
  // The control plane may be gone: after a reboot, or killed. The machine is not left behind for that.
  removeDomain(`default.${name}`);
  if (notes.standalone === true) {
    await stop('virtctl standalone', join(folder, 'standalone.pid'), 'standalone');
    if (others.length === 0) {
      for (const path of [data, `${data}-executor`]) rmSync(path, { recursive: true, force: true });
    } else {
      say(`${data} stays, for what was made beside the quickstart: ${others.join(', ')}`);
      say(`it is served again by: node ${virtctl} standalone`);
    }
  }
  if (notes.libvirtd !== undefined && libvirtAnswers() && hasGuests()) {
    say('libvirtd goes on running: there are other machines');
  } else if (notes.libvirtd === 'systemd') {
    must('systemctl', ['stop', 'libvirtd.service', 'libvirtd.socket', 'libvirtd-ro.socket', 'libvirtd-admin.socket']);
  } else if (notes.libvirtd === 'process') {
    await stop('libvirtd', join(folder, 'libvirtd.pid'), 'libvirtd');
    if (notes.virtlogd === 'process') await stop('virtlogd', '/run/virtlogd.pid', 'virtlogd');
  }
  if (notes.kvm !== undefined) {
    chownSync('/dev/kvm', 0, notes.kvm.gid);
    chmodSync('/dev/kvm', notes.kvm.mode);
  }
  rmSync(folder, { recursive: true, force: true });
  rmSync(serialLog, { force: true });
  try {
    rmdirSync(base);
  } catch (error) {
    // Somebody else's files are in it, or it is a file system of its own.
    if (!['ENOENT', 'ENOTEMPTY', 'EBUSY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  say('clean: what the quickstart made and started is gone (installed packages stay)');
}

/** What the control plane has beside what the quickstart made; when it does not answer, the domains that may be its own. */
function othersObjects(): string[] {
  if (notes.standalone !== true || !existsSync(data)) return [];
  const made = ours(['get', 'vm,vdisk,vimg,vnet,vmsnap', '-A', '-o', 'name']);
  if (made.status === 0) return made.stdout.split('\n').filter((line) => line !== '');
  const { stdout } = spawnSync('virsh', ['-c', 'qemu:///system', 'list', '--all', '--name'], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  return stdout.split('\n').filter((domain) => domain.includes('.') && domain !== `default.${name}`);
}

/** Ends and undefines a domain of ours that nobody else took away. */
function removeDomain(domain: string): void {
  const virsh = (...words: string[]): number | null =>
    spawnSync('virsh', ['-c', 'qemu:///system', ...words], { timeout: 60_000, stdio: 'ignore' }).status;
  if (notes.libvirtd === undefined && notes.standalone === undefined) return;
  if (!libvirtAnswers() || virsh('dominfo', domain) !== 0) return;
  say(`the control plane does not answer: taking the domain ${domain} away`);
  virsh('destroy', domain);
  virsh('undefine', domain, '--nvram', '--managed-save', '--snapshots-metadata');
}

function hasGuests(): boolean {
  const { stdout } = spawnSync('virsh', ['-c', 'qemu:///system', 'list', '--name'], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  return stdout.trim() !== '';
}

/** Ends a process that its file names, if it is what it should be, and waits for its end. */
async function stop(what: string, pidFile: string, word: string): Promise<void> {
  const pid = pidOf(pidFile);
  if (pid === undefined || !commandOf(pid).includes(word)) return;
  say(`stopping ${what}`);
  process.kill(pid, 'SIGTERM');
  await until(`${what} to end`, () => !commandOf(pid).includes(word) || undefined);
}

function isAlive(pidFile: string): boolean {
  const pid = pidOf(pidFile);
  return pid !== undefined && commandOf(pid) !== '';
}

function pidOf(file: string): number | undefined {
  const pid = existsSync(file) ? Number(readFileSync(file, 'utf8').trim()) : 0;
  return Number.isInteger(pid) && pid > 1 ? pid : undefined;
}

function commandOf(pid: number): string {
  const path = `/proc/${pid}/cmdline`;
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

function isStale(): boolean {
  if (!existsSync(virtctl)) return true;
  const builtAt = statSync(virtctl).mtimeMs;
  return ['bin', 'src'].some((part) =>
    readdirSync(join(root, part), { recursive: true, encoding: 'utf8' }).some(
      (file) => file.endsWith('.ts') && statSync(join(root, part, file)).mtimeMs > builtAt,
    ),
  );
}

function ours(args: readonly string[]): {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
} {
  const env = { ...process.env, KUBECONFIG: kubeconfig };
  return spawnSync(process.execPath, [virtctl, ...args], { encoding: 'utf8', env, timeout: patienceMs });
}

/** Runs a command of virtctl for the user to see, or of its output what matches; ends when it fails. */
function show(args: readonly string[], lines?: RegExp): void {
  process.stdout.write(`$ virtctl ${args.join(' ')}\n`);
  const { status, stdout, stderr } = ours(args);
  const all = `${stdout}${stderr}`.trimEnd();
  const text = lines === undefined ? all : (all.match(lines) ?? []).join('\n');
  if (text !== '') process.stdout.write(`${text.replaceAll(/^/gm, '    ')}\n`);
  process.stdout.write('\n');
  if (status !== 0) fail(`virtctl ${args[0] ?? ''} failed; more is in ${join(folder, 'standalone.log')}`);
}

function must(program: string, args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) fail(`${program} failed: ${error?.message ?? stderr.trim()}`);
}

async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  for (const startedAt = Date.now(); Date.now() - startedAt < patienceMs;) {
    const found = look();
    if (found !== undefined) return found;
    await sleep(250);
  }
  return fail(`waited ${patienceMs / 1000} s for ${what}; more is in ${join(folder, 'standalone.log')}`);
}

function keepNotes(): void {
  writeFileSync(notesFile, JSON.stringify(notes));
}

function say(text: string): void {
  process.stdout.write(`# ${text}\n`);
}

function fail(text: string): never {
  process.stderr.write(
    `error: ${text}\nhint: npm run quickstart -- --clean, then try again; virtctl doctor says what is wrong\n`,
  );
  process.exit(1);
}
