/**
 * A node of the lab: libvirtd, its guests and the executor, all in the node's mount, network, UTS, PID and IPC
 * namespaces (test/support/libvirtd.ts). What a host keeps over a power cut it keeps in its folder: /etc/libvirt,
 * /var/lib/libvirt, /var/log/libvirt, its UUID.
 *
 *   running ──pause──▶ paused ──resume──▶ running        partition, heal: beside that, the cable
 *      └──────kill──────┴──▶ off ──start──▶ running
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { kill, LabProcess } from './lab-process.ts';
import { nodeAddress, type LabSwitch } from './lab-switch.ts';
import { startLibvirtd, type LibvirtdNode } from '../../test/support/libvirtd.ts';

/** What of a node a fault is done to. */
export const nodeParts = ['node', 'libvirtd', 'executor'] as const;
/** See {@link nodeParts}. */
export type NodePart = (typeof nodeParts)[number];

/** What a node is made of. */
export interface LabNodeOptions {
  /** From 1. */
  readonly index: number;
  /** The lab's folder. */
  readonly folder: string;
  /** All nodes' names, in order. */
  readonly names: readonly string[];
  readonly cables: LabSwitch;
  readonly env: Readonly<Record<string, string>>;
  /** The bundle of virtctl. */
  readonly program: string;
  /** The kubeconfig with which nodes reach the API server. */
  readonly kubeconfig: string;
  /** Seconds without a sign of life after which the executor counts as lost. */
  readonly leaseSeconds: number | undefined;
}

/** How a node is. */
export interface LabNodeStatus {
  readonly name: string;
  readonly address: string;
  readonly state: 'running' | 'paused' | 'off';
  readonly libvirtd: 'running' | 'paused' | 'off';
  readonly executor: 'running' | 'paused' | 'off';
  readonly partitioned: boolean;
  /** Of its namespaces' first process; 0 when it is off. */
  readonly pid: number;
  /** libvirtd's socket, for `virsh -c qemu+unix:///system?socket=…`. */
  readonly socket: string;
}

/** See the head of this file. */
export class LabNode {
  readonly name: string;
  readonly address: string;
  readonly folder: string;
  readonly #options: LabNodeOptions;
  readonly #hostUuid = randomUUID();
  readonly #executor: LabProcess;
  readonly #paused = new Set<NodePart>();
  #libvirtd: LibvirtdNode | undefined;
  #libvirtdRuns = false;
  #partitioned = false;

  constructor(options: LabNodeOptions) {
    this.#options = options;
    this.name = options.names[options.index - 1] ?? '';
    this.address = nodeAddress(options.index);
    this.folder = join(options.folder, 'nodes', this.name);
    const { kubeconfig, program, leaseSeconds, env } = options;
    this.#executor = new LabProcess(() => ({
      program: 'nsenter',
      args: [
        ...['-t', String(this.#libvirtd?.pid ?? 0), '-m', '-u', '-n', '-p', '-i', '--', process.execPath, program],
        ...['executor', '--node-name', this.name, '--kubeconfig', kubeconfig, '--log-level', 'debug'],
        // In a folder that each node has for itself, as on machines of their own.
        ...['--data-dir', '/var/lib/libvirt/virtctl'],
        ...['--migration-uri', `qemu+tcp://${this.name}/system`],
        ...(leaseSeconds === undefined ? [] : ['--lease-duration', `${leaseSeconds}s`]),
      ],
      env,
      log: this.executorLog,
      readyText: '"ready"',
      forks: true,
    }));
  }

  get executorLog(): string {
    return join(this.folder, 'executor.log');
  }

  /** libvirtd and its namespaces. @throws Error when the node is off. */
  get libvirtd(): LibvirtdNode {
    if (this.#libvirtd === undefined) throw new Error(`${this.name} is off`);
    return this.#libvirtd;
  }

  /** The executor's process id; 0 when it is off. */
  executorPid(): Promise<number> {
    return this.#executor.pid();
  }

  status(): LabNodeStatus {
    const paused = (part: NodePart): boolean => this.#paused.has(part) || this.#paused.has('node');
    const word = (part: NodePart, runs: boolean): LabNodeStatus['state'] =>
      !runs ? 'off' : paused(part) ? 'paused' : 'running';
    const isOn = this.#libvirtd !== undefined;
    return {
      name: this.name,
      address: this.address,
      state: word('node', isOn),
      libvirtd: word('libvirtd', isOn && this.#libvirtdRuns),
      executor: word('executor', this.#executor.isRunning),
      partitioned: this.#partitioned,
      pid: this.#libvirtd?.pid ?? 0,
      socket: join(this.folder, 'run/libvirt-sock'),
    };
  }

  /** Starts what is off: the whole node, or a part of one that runs. A node that starts is plugged in. */
  async start(part: NodePart = 'node'): Promise<void> {
    if (part === 'node' && this.#libvirtd === undefined) {
      await this.#boot();
      return;
    }
    if (part !== 'executor' && !this.#libvirtdRuns) {
      await this.libvirtd.start();
      this.#libvirtdRuns = true;
    }
    if (part !== 'libvirtd') await this.#startExecutor();
  }

  /** SIGKILL: the whole node with its guests, as by a power cut, or a part of it. */
  async kill(part: NodePart = 'node'): Promise<void> {
    switch (part) {
      case 'executor':
        await this.#executor.signal('SIGKILL');
        break;
      case 'libvirtd':
        if (this.#libvirtdRuns) await this.libvirtd.signal('KILL');
        this.#libvirtdRuns = false;
        break;
      case 'node': {
        const node = this.#libvirtd;
        this.#libvirtd = undefined;
        this.#libvirtdRuns = false;
        this.#partitioned = false;
        this.#paused.clear();
        if (node === undefined) break;
        // The end of the first process is the end of all in its PID namespace, stopped or not.
        kill(node.pid, 'SIGKILL');
        await node.close();
        await this.#executor.signal('SIGKILL');
        break;
      }
    }
    this.#paused.delete(part);
  }

  /** SIGSTOP: connections stay open and nothing answers. The whole node with its guests, or a part. */
  async pause(part: NodePart = 'node'): Promise<void> {
    await this.#signal(part, 'SIGSTOP');
    this.#paused.add(part);
  }

  /** Undoes {@link pause}. */
  async resume(part: NodePart = 'node'): Promise<void> {
    await this.#signal(part, 'SIGCONT');
    if (part === 'node') this.#paused.clear();
    else this.#paused.delete(part);
  }

  /** Cuts the node off from the API server and the other nodes; its guests and executor run on. */
  async partition(): Promise<void> {
    await this.#options.cables.cut(this.#options.index);
    this.#partitioned = true;
  }

  /** Undoes {@link partition}. */
  async heal(): Promise<void> {
    await this.#options.cables.join(this.#options.index);
    this.#partitioned = false;
  }

  async #boot(): Promise<void> {
    const { names, cables, index, env } = this.#options;
    await mkdir(this.folder, { recursive: true });
    const node = await startLibvirtd({
      folder: this.folder,
      hostname: this.name,
      hostUuid: this.#hostUuid,
      // Only the nodes of the lab are on this network.
      libvirtdConf: { listen_tcp: 1, auth_tcp: 'none' },
      // A migration notices a target that is cut off after 12 s, not 30.
      qemuConf: { keepalive_interval: 3, keepalive_count: 3 },
      args: ['--listen'],
      env,
    });
    this.#libvirtd = node;
    this.#libvirtdRuns = true;
    const others = names.map((name, other) => `${nodeAddress(other + 1)} ${name}\n`);
    await writeFile(join(this.folder, 'hosts'), `127.0.0.1 localhost\n${others.join('')}`);
    await cables.plug(index, node.pid);
    await this.#startExecutor();
  }

  async #startExecutor(): Promise<void> {
    await this.#executor.start();
    this.#paused.delete('executor');
  }

  async #signal(part: NodePart, signal: 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    if (part === 'executor') return this.#executor.signal(signal);
    if (part === 'libvirtd') return this.libvirtd.signal(signal === 'SIGSTOP' ? 'STOP' : 'CONT');
    // The first process goes on: it ends the node when this process dies.
    const { pid: first } = this.libvirtd;
    for (const pid of await processesIn(first)) if (pid !== first) kill(pid, signal);
    if (signal === 'SIGCONT') await this.#executor.signal(signal);
  }
}

/** All processes of the PID namespace of a process, as numbered outside. */
async function processesIn(first: number): Promise<number[]> {
  const namespace = await readlink(`/proc/${first}/ns/pid`);
  const all = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry)).map(Number);
  const inside = await Promise.all(
    all.map(async (pid) => {
      try {
        return (await readlink(`/proc/${pid}/ns/pid`)) === namespace;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return false;
        throw error;
      }
    }),
  );
  return all.filter((_pid, index) => inside[index]);
}
