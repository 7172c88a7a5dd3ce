/**
 * A real libvirtd for a test, in mount, network, UTS, PID, IPC and control-group namespaces of its own; any number at
 * once, as root. Start it in `beforeAll`, close it in `afterAll`:
 *
 *     const node = await startLibvirtd();            // about 0.5 s
 *     node.socket                                    // path of its socket, reachable from outside
 *     node.uri                                       // qemu+unix:///system?socket=…
 *     node.testUri                                   // test+unix:///default?socket=… (the test driver in the same daemon)
 *     await node.virsh('list', '--all')              // virsh beside the code under test
 *     await node.signal('KILL'); await node.start(); // guests go on running meanwhile
 *     await node.close();
 *
 * Everything (QEMU, dnsmasq, interfaces, mounts, control groups, `node.dir`) is gone after `close`, and also when the
 * test's process dies: the namespace's first process ends when the pipe to it closes. Put pools below `node.dir`.
 * NAT networks work inside. `linkNodes` joins several nodes by an Ethernet segment, for migration.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { runProgram } from './run-program.ts';

/** Options of {@link startLibvirtd}. */
export interface LibvirtdOptions {
  /** Further settings of libvirtd.conf, as `{ max_clients: 3 }`. */
  readonly libvirtdConf?: Readonly<Record<string, string | number>>;
  /** Further settings of qemu.conf. */
  readonly qemuConf?: Readonly<Record<string, string | number>>;
  /** Further arguments of libvirtd, as `['--listen']`. */
  readonly args?: readonly string[];
  /** Stays in the machine's own network namespace, so that TCP listeners can be reached: no libvirt networks then. */
  readonly hostNetwork?: boolean;
  /**
   * A folder that stays when the node ends, so that the same host can be started on it again; `run` is emptied first, as
   * a boot does. A folder of the system's temporary one, removed at the end, unless given.
   */
  readonly folder?: string;
  /** The host's name inside; that of the folder unless given. */
  readonly hostname?: string;
  /** What capabilities say as `host/uuid`, and what `/etc/machine-id` says; a new one unless given. */
  readonly hostUuid?: string;
  /** Added to the environment of its processes, but for guests'. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Words that {@link LibvirtdNode.signal} takes. */
export type NodeSignal = 'KILL' | 'STOP' | 'CONT' | 'TERM';

/** A running node. */
export interface LibvirtdNode {
  /** Its host name. */
  readonly name: string;
  /** Its folder: `run`, `var` (/var/lib/libvirt), `etc`, `log`, `libvirtd.out`; removed at the end. */
  readonly dir: string;
  /** The path of libvirtd's read-write socket. */
  readonly socket: string;
  /** The URI of its QEMU driver, for anybody on this machine. */
  readonly uri: string;
  /** The URI of libvirt's test driver in the same daemon. Its objects last until the last connection to it closes. */
  readonly testUri: string;
  /** What capabilities say as `host/uuid`. */
  readonly hostUuid: string;
  /** The process id of the namespaces' first process, seen from outside; for `nsenter`. */
  readonly pid: number;
  /** Runs virsh against {@link uri}; what it prints, without the last line breaks. Throws with its complaint. */
  virsh(...args: string[]): Promise<string>;
  /** The same against {@link testUri}; nothing lasts between two calls unless another connection is open. */
  testVirsh(...args: string[]): Promise<string>;
  /** Runs a program inside the node's namespaces and gives its output. */
  exec(program: string, ...args: string[]): Promise<string>;
  /** Sends libvirtd a signal; `KILL` and `TERM` also wait until it ended. QEMU processes are left alone. */
  signal(signal: NodeSignal): Promise<void>;
  /**
   * Starts libvirtd again after it ended, and waits until it answers. What it noted of a start that had no process yet is
   * removed first, as docs/executor.md tells an operator to: a libvirtd that reads such a note never lets go of the domain.
   */
  start(how?: { readonly keepNotes?: boolean }): Promise<void>;
  /** `signal` then `start`. */
  restart(signal?: 'KILL' | 'TERM'): Promise<void>;
  /** What libvirtd wrote to its standard error. */
  log(): Promise<string>;
  /** Ends everything and waits until it is gone. May be called twice. */
  close(): Promise<void>;
}

const script = join(import.meta.dirname, 'libvirtd-node.sh');
/** QEMU's probed capabilities, kept between runs: probing takes seconds. */
const cache = join(import.meta.dirname, '../../node_modules/.cache/libvirt-capabilities');

/** Starts a node and waits until its libvirtd answers. */
export async function startLibvirtd(options: LibvirtdOptions = {}): Promise<LibvirtdNode> {
  if (process.getuid?.() !== 0) throw new Error('a libvirtd of its own needs root');
  const dir = options.folder ?? (await mkdtemp(join(tmpdir(), 'virtctl-node-')));
  // Names the control groups, which must not be those of another node: a kept folder's name is not enough for that.
  const group = options.folder === undefined ? basename(dir).toLowerCase() : `virtctl-node-${randomUUID()}`;
  const name = options.hostname ?? group;
  const hostUuid = options.hostUuid ?? randomUUID();
  await prepare(dir, name, hostUuid, options);
  await writeFile(join(dir, 'group'), group);
  const network = options.hostNetwork === true ? 'host' : 'own';
  const child = spawn('bash', [script, 'supervise', dir, group, network, cache, ...(options.args ?? [])], {
    env: { ...process.env, ...options.env, NODE_HOSTNAME: name, NODE_KEEP: options.folder === undefined ? '' : 'yes' },
    // A session of its own, or an interrupt at the terminal would end it before it has cleaned up.
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const control = new Control(child);
  await control.answer();
  const socket = join(dir, 'run/libvirt-sock');
  const uri = `qemu+unix:///system?socket=${socket}`;
  const testUri = `test+unix:///default?socket=${socket}`;
  const pid = await firstProcess(child.pid ?? 0);
  const node: LibvirtdNode = {
    ...{ name, dir, socket, uri, testUri, hostUuid, pid },
    virsh: (...args) => runProgram('virsh', ['-q', '-c', uri, ...args]),
    testVirsh: (...args) => runProgram('virsh', ['-q', '-c', testUri, ...args]),
    exec: (program, ...args) =>
      runProgram('nsenter', ['-t', String(pid), '-m', '-u', '-n', '-p', '-i', '--', program, ...args]),
    async signal(signal) {
      await control.send(`signal ${signal}`);
      if (signal === 'KILL' || signal === 'TERM') await control.send('await');
    },
    async start({ keepNotes = false } = {}) {
      if (!keepNotes) await removeNotesWithoutProcess(join(dir, 'run/qemu'));
      await control.send('start');
      await untilAnswers(socket, () => node.log());
    },
    async restart(signal = 'TERM') {
      await node.signal(signal);
      await node.start();
    },
    log: () => readFile(join(dir, 'libvirtd.out'), 'utf8'),
    close: () => control.end(),
  };
  try {
    await node.start();
  } catch (error) {
    await node.close();
    throw error;
  }
  return node;
}

/**
 * Joins nodes by one Ethernet segment and gives the n-th the address 10.99.0.n. Each then knows the others by host
 * name, so that `qemu+tcp` and live migration work between them. Call it once for a set of nodes.
 */
export async function linkNodes(nodes: readonly LibvirtdNode[]): Promise<string[]> {
  const addresses = nodes.map((_node, index) => `10.99.0.${index + 1}`);
  const hub = nodes[0];
  if (hub === undefined) return [];
  await hub.exec('ip', 'link', 'add', 'lab0', 'type', 'bridge');
  await hub.exec('ip', 'addr', 'add', `${addresses[0] ?? ''}/24`, 'dev', 'lab0');
  await hub.exec('ip', 'link', 'set', 'lab0', 'up');
  for (const [index, node] of nodes.entries()) {
    if (node !== hub) {
      const port = `lab${index + 1}`;
      const peer = ['peer', 'name', 'lab0', 'netns', String(node.pid)];
      await runProgram('ip', ['link', 'add', port, 'netns', String(hub.pid), 'type', 'veth', ...peer]);
      await hub.exec('ip', 'link', 'set', port, 'master', 'lab0', 'up');
      await node.exec('ip', 'addr', 'add', `${addresses[index] ?? ''}/24`, 'dev', 'lab0');
      await node.exec('ip', 'link', 'set', 'lab0', 'up');
    }
    const others = nodes.map(({ name }, other) => `${addresses[other] ?? ''} ${name}\n`);
    await writeFile(join(node.dir, 'hosts'), `127.0.0.1 localhost\n${others.join('')}`);
  }
  return addresses;
}

/** Removes libvirt's notes of domains that were being started when it was killed, before they had a process. */
async function removeNotesWithoutProcess(folder: string): Promise<void> {
  const names = await readdir(folder).catch((): string[] => []);
  for (const name of names.filter((one) => one.endsWith('.xml'))) {
    const file = join(folder, name);
    if (/<domstatus [^>]*pid='0'/.test(await readFile(file, 'utf8'))) await rm(file);
  }
}

async function prepare(dir: string, name: string, hostUuid: string, options: LibvirtdOptions): Promise<void> {
  await rm(join(dir, 'run'), { recursive: true, force: true });
  for (const folder of ['run', 'var', 'etc/qemu/networks', 'log']) await mkdir(join(dir, folder), { recursive: true });
  await mkdir(cache, { recursive: true });
  // The network filters that libvirt installs; not the machine's own networks and guests.
  await cp('/etc/libvirt/nwfilter', join(dir, 'etc/nwfilter'), { recursive: true });
  await writeFile(join(dir, 'hosts'), `127.0.0.1 localhost ${name}\n`);
  await writeFile(join(dir, 'machine-id'), `${hostUuid.replaceAll('-', '')}\n`);
  await writeFile(join(dir, 'libvirtd.out'), '');
  const libvirtd = { host_uuid: hostUuid, listen_tls: 0, auth_unix_rw: 'none', ...options.libvirtdConf };
  await writeFile(join(dir, 'etc/libvirtd.conf'), settings(libvirtd));
  const qemu = { user: 'root', group: 'root', security_driver: 'none', remember_owner: 0, stdio_handler: 'file' };
  const further = { dynamic_ownership: 0, ...options.qemuConf };
  await writeFile(join(dir, 'etc/qemu.conf'), `${settings({ ...qemu, ...further })}namespaces = []\n`);
}

function settings(values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values)
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    .join('');
}

/** The pipe to the node's first process: one answer for each command. */
class Control {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;
  #queue: Promise<void> = Promise.resolve();

  constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.#ended = once(child, 'exit');
    child.stdin.on('error', () => undefined); // an ended node: answer() says so
  }

  async answer(): Promise<void> {
    const { done } = await this.#answers.next();
    if (done === true) throw new Error('the node ended');
  }

  send(command: string): Promise<void> {
    const sent = this.#queue.then(() => {
      this.#child.stdin.write(`${command}\n`);
      return this.answer();
    });
    this.#queue = sent.catch(() => undefined);
    return sent;
  }

  async end(): Promise<void> {
    this.#child.stdin.end();
    await this.#ended;
  }
}

/** The process whose id is 1 inside: the only child of `unshare`, which is the supervisor's. */
async function firstProcess(supervisor: number): Promise<number> {
  const childOf = async (pid: number): Promise<number> =>
    Number((await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ')[0]);
  return childOf(await childOf(supervisor));
}

/**
 * REMOTE_PROC_AUTH_LIST, a call that libvirtd answers as soon as its drivers are up: length 28, program, version,
 * procedure 66, type call, serial 1, status ok.
 */
const authList = Buffer.from('0000001c200080860000000100000042000000000000000100000000', 'hex');

async function untilAnswers(socket: string, log: () => Promise<string>): Promise<void> {
  const deadline = Date.now() + 120_000;
  while (!(await answers(socket, deadline - Date.now()))) {
    if (Date.now() > deadline) throw new Error(`libvirtd did not answer in 30 s: ${await log()}`);
    await delay(20);
  }
}

async function answers(socket: string, timeoutMs: number): Promise<boolean> {
  const isThere = await stat(socket).then(
    () => true,
    () => false,
  );
  if (!isThere) return false;
  return new Promise((resolve) => {
    const client = createConnection(socket, () => client.write(authList));
    const end = (answered: boolean): void => {
      client.destroy();
      resolve(answered);
    };
    client.setTimeout(Math.max(1, timeoutMs), () => end(false));
    client.once('data', () => end(true));
    client.once('error', () => end(false));
    client.once('close', () => end(false));
  });
}
