/**
 * The lab's network: a bridge in a network namespace of its own, to which every node has one cable. What is behind the
 * bridge besides the nodes is the API server, at the address {@link apiAddress}, through a forwarder:
 *
 *   node-1 eth0 10.99.0.1 ──┐
 *   node-2 eth0 10.99.0.2 ──┼── bridge lab0 10.99.0.254:6443 ──▶ forward.ts ──▶ api.sock ──▶ this process ──▶ 127.0.0.1
 *   node-3 eth0 10.99.0.3 ──┘
 *
 * The machine's own interfaces and routes stay as they are. A node that is unplugged keeps its interface and its
 * address, and nothing it sends arrives anywhere: connections hang, as with a broken switch.
 */
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { LabProcess } from './lab-process.ts';
import { runProgram } from '../../test/support/run-program.ts';

/** Where nodes find the API server. */
export const apiAddress = '10.99.0.254';
/** The port at {@link apiAddress}. */
export const apiPort = 6443;

/** The address of the n-th node, from 1. */
export function nodeAddress(index: number): string {
  return `10.99.0.${index}`;
}

/** See the head of this file. */
export class LabSwitch {
  readonly #process: LabProcess;
  readonly #socket: string;
  readonly #connections = new Set<Socket>();
  #gate: Server | undefined;

  constructor(folder: string, env: Readonly<Record<string, string>>) {
    this.#socket = join(folder, 'api.sock');
    const forward = ['--import', 'tsx', join(import.meta.dirname, 'forward.ts'), '0.0.0.0', String(apiPort)];
    this.#process = new LabProcess(() => ({
      program: 'unshare',
      args: ['--net', '--', process.execPath, ...forward, this.#socket],
      env,
      log: join(folder, 'switch.log'),
      readyText: 'forwarding',
    }));
  }

  get isRunning(): boolean {
    return this.#process.isRunning;
  }

  pid(): Promise<number> {
    return this.#process.pid();
  }

  /** Makes the bridge, and carries connections to the API server's port of the machine's loopback. */
  async start(port: () => number): Promise<void> {
    await rm(this.#socket, { force: true });
    const gate = createServer({ allowHalfOpen: true }, (client) => {
      const upstream = createConnection({ host: '127.0.0.1', port: port(), allowHalfOpen: true });
      for (const one of [client, upstream]) {
        this.#connections.add(one);
        one.on('close', () => this.#connections.delete(one));
      }
      client.pipe(upstream).pipe(client);
      client.on('error', () => upstream.destroy());
      upstream.on('error', () => client.destroy());
      client.on('close', () => upstream.destroy());
      upstream.on('close', () => client.destroy());
    });
    gate.listen(this.#socket);
    await once(gate, 'listening');
    this.#gate = gate;
    await this.#process.start();
    await this.#ip('link', 'set', 'lo', 'up');
    await this.#ip('link', 'add', 'lab0', 'type', 'bridge');
    await this.#ip('addr', 'add', `${apiAddress}/24`, 'dev', 'lab0');
    await this.#ip('link', 'set', 'lab0', 'up');
  }

  /** Gives a node its cable, after each start of the node. */
  async plug(index: number, nodePid: number): Promise<void> {
    const port = portOf(index);
    const inside = ['-t', String(nodePid), '-n', '--', 'ip'];
    const peer = ['peer', 'name', 'eth0', 'netns', String(nodePid)];
    // That of the node's last life may not be gone yet.
    if ((await this.#ip('-br', 'link')).includes(`${port}@`)) await this.#ip('link', 'delete', port);
    await this.#ip('link', 'add', port, 'type', 'veth', ...peer);
    await this.#ip('link', 'set', port, 'master', 'lab0', 'up');
    await runProgram('nsenter', [...inside, 'addr', 'add', `${nodeAddress(index)}/24`, 'dev', 'eth0']);
    await runProgram('nsenter', [...inside, 'link', 'set', 'eth0', 'up']);
  }

  /** Cuts a node off: nothing arrives, in either direction, and nobody is told. */
  async cut(index: number): Promise<void> {
    await this.#ip('link', 'set', portOf(index), 'nomaster');
  }

  /** Undoes {@link cut}. */
  async join(index: number): Promise<void> {
    await this.#ip('link', 'set', portOf(index), 'master', 'lab0');
  }

  async close(): Promise<void> {
    await this.#process.signal('SIGKILL');
    for (const one of this.#connections) one.destroy();
    const gate = this.#gate;
    if (gate === undefined) return;
    this.#gate = undefined;
    gate.close();
    await once(gate, 'close');
  }

  async #ip(...args: string[]): Promise<string> {
    return runProgram('nsenter', ['-t', String(await this.#process.pid()), '-n', '--', 'ip', ...args]);
  }
}

function portOf(index: number): string {
  return `port${index}`;
}
