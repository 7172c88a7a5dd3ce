/**
 * The embedded API server beside kube-apiserver with etcd, in one run on one machine: writes, a list of ten thousand
 * machines, one change to a hundred watchers, memory. Both are processes of their own, spoken to over HTTPS.
 */
import { existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import type { BenchReport, BenchRow } from './bench-report.ts';
import { customResourceDefinition } from '../src/api/crd.ts';
import { kinds } from '../src/api/kinds.ts';
import { findFreePort, startTestProcess } from '../test/support/child-process.ts';
import { startKubeApiserver } from '../test/support/kube-apiserver.ts';
import { makeTestFolder } from '../test/support/test-folder.ts';

const machines = 10_000;
const writers = 32;
const watchers = 100;
const lists = 7;
const changes = 20;
const path = '/apis/virtctl.dev/v1alpha1/namespaces/default/virtualmachines';
const root = resolve(import.meta.dirname, '..');

interface Server {
  readonly name: string;
  readonly url: string;
  readonly ca: string;
  readonly token: string;
  readonly pids: readonly number[];
  readonly stop: () => Promise<void>;
}

interface Figures {
  readonly writesPerSecond: number;
  readonly updatesPerSecond: number;
  readonly listMs: number;
  readonly fanOutMs: number;
  readonly residentMiB: number;
}

/** Measures one server after the other. */
export async function run(): Promise<BenchReport> {
  const results: (readonly [string, Figures])[] = [];
  for (const start of [startEmbedded, startReal]) {
    const server = await start();
    try {
      results.push([server.name, await measure(server)]);
    } finally {
      await server.stop();
    }
  }
  const row = (
    what: string,
    unit: string,
    figure: keyof Figures,
    isBetter: (a: number, b: number) => boolean,
  ): BenchRow => {
    const [[, ours], [, theirs]] = results as [readonly [string, Figures], readonly [string, Figures]];
    return {
      what,
      unit,
      values: Object.fromEntries(results.map(([name, figures]) => [name, figures[figure]])),
      goal: 'ahead',
      reached: isBetter(ours[figure], theirs[figure]),
    };
  };
  const more = (a: number, b: number): boolean => a > b;
  const less = (a: number, b: number): boolean => a < b;
  return {
    title: `API servers with ${machines} machines`,
    rows: [
      row(`create, ${writers} clients`, '/s', 'writesPerSecond', more),
      row(`patch the status, ${writers} clients`, '/s', 'updatesPerSecond', more),
      row('list all', 'ms', 'listMs', less),
      row(`one change to ${watchers} watchers`, 'ms', 'fanOutMs', less),
      row('memory, resident', 'MiB', 'residentMiB', less),
    ],
    notes: [
      'every write is synced to the disk by both',
      'the clients run in the process that measures, on the same processors',
    ],
  };
}

async function startEmbedded(): Promise<Server> {
  const program = join(root, 'dist/virtctl.js');
  if (!existsSync(program)) throw new Error('dist/virtctl.js is not there: npm run build');
  const folder = makeTestFolder('bench');
  const port = await findFreePort();
  const server = await startTestProcess(process.execPath, [
    program,
    'standalone',
    '--data-dir',
    folder,
    '--port',
    String(port),
  ]);
  while (!server.output().includes('kubeconfig')) {
    if (!server.isRunning()) throw new Error(server.output());
    await delay(50);
  }
  return {
    name: 'virtctl standalone',
    url: `https://127.0.0.1:${port}`,
    ca: readFileSync(join(folder, 'pki/ca.crt'), 'utf8'),
    token: readFileSync(join(folder, 'pki/admin.token'), 'utf8').trim(),
    pids: [server.pid],
    async stop() {
      await server.end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function startReal(): Promise<Server> {
  const real = await startKubeApiserver();
  const server: Server = {
    name: 'kube-apiserver + etcd',
    url: real.server,
    ca: real.ca,
    token: real.adminToken,
    pids: [real.pid(), real.etcdPid()],
    stop: () => real.stop(),
  };
  const client = new Client(server, 1);
  for (const info of kinds) {
    await client.send(
      'POST',
      '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
      customResourceDefinition(info),
    );
  }
  const end = performance.now() + 60_000;
  while ((await client.send('GET', path, undefined, true)).code !== 200) {
    if (performance.now() > end) throw new Error(`${path} is not served`);
    await delay(200);
  }
  // It works on its CRDs for a while after it serves them.
  await delay(10_000);
  client.close();
  return server;
}

class Client {
  readonly #server: Server;
  readonly #agent: Agent;

  constructor(server: Server, sockets: number) {
    this.#server = server;
    this.#agent = new Agent({ keepAlive: true, maxSockets: sockets });
  }

  send(method: string, at: string, body?: unknown, mayFail = false): Promise<{ code: number; text: Buffer }> {
    const { url, ca, token } = this.#server;
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
    };
    return new Promise((done, failed) => {
      const asked = request(`${url}${at}`, { method, ca, agent: this.#agent, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', failed);
        response.on('end', () => {
          const text = Buffer.concat(chunks);
          const code = response.statusCode ?? 0;
          if (code >= 300 && !mayFail) failed(new Error(`${method} ${at}: ${text.toString()}`));
          else done({ code, text });
        });
      });
      asked.on('error', failed);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Opens a watch and calls `onEvent` for every line. */
  watch(at: string, onEvent: () => void): Promise<() => void> {
    const { url, ca, token } = this.#server;
    return new Promise((done, failed) => {
      const asked = request(
        `${url}${at}`,
        { ca, agent: this.#agent, headers: { authorization: `Bearer ${token}` } },
        (response) => {
          response.on('data', (chunk: Buffer) => {
            if (chunk.includes(10)) onEvent();
          });
          response.on('error', () => undefined);
          done(() => asked.destroy());
        },
      );
      asked.on('error', failed);
      asked.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function machine(index: number): object {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name: `vm-${String(index).padStart(5, '0')}`, labels: { tier: index % 2 === 0 ? 'front' : 'back' } },
    spec: {
      // Placed by hand: what the scheduler writes is not to be measured here.
      nodeName: 'bench',
      runStrategy: 'Always',
      domain: {
        memory: { unit: 'MiB', value: 2048 },
        vcpu: { value: 2 },
        os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
        cpu: { mode: 'host-passthrough' },
        devices: {
          disk: [
            {
              type: 'file',
              device: 'disk',
              driver: { name: 'qemu', type: 'qcow2', cache: 'none' },
              source: { file: `/var/lib/libvirt/images/vm-${index}.qcow2` },
              target: { dev: 'vda', bus: 'virtio' },
            },
          ],
          interface: [{ type: 'network', source: { network: 'default' }, model: { type: 'virtio' } }],
          rng: [{ model: 'virtio', backend: { model: 'random', value: '/dev/urandom' } }],
        },
      },
    },
  };
}

async function measure(server: Server): Promise<Figures> {
  const client = new Client(server, writers);
  const parallel = async (work: (index: number) => Promise<unknown>, count: number): Promise<number> => {
    let next = 0;
    const started = performance.now();
    await Promise.all(
      Array.from({ length: writers }, async () => {
        while (next < count) await work(next++);
      }),
    );
    return Math.round(count / ((performance.now() - started) / 1000));
  };
  const writesPerSecond = await parallel((index) => client.send('POST', path, machine(index)), machines);
  const name = (index: number): string => `${path}/vm-${String(index).padStart(5, '0')}`;
  const updatesPerSecond = await parallel(
    (index) => client.send('PATCH', `${name(index)}/status`, { status: { printableStatus: `Running` } }),
    machines / 5,
  );
  const listMs = await median(lists, async () => {
    const started = performance.now();
    const { text } = await client.send('GET', path);
    if (text.length < machines * 500) throw new Error('the list is too short');
    return performance.now() - started;
  });
  const residentMiB = Math.round(server.pids.map(residentBytes).reduce((sum, bytes) => sum + bytes, 0) / 1024 / 1024);
  const fanOutMs = await fanOut(server, client, name);
  client.close();
  return { writesPerSecond, updatesPerSecond, listMs, fanOutMs, residentMiB };
}

/** From sending one change until the last of the watchers has it, in milliseconds. */
async function fanOut(server: Server, client: Client, name: (index: number) => string): Promise<number> {
  const watching = new Client(server, watchers);
  let left = 0;
  let arrived: () => void = () => undefined;
  const list = JSON.parse((await client.send('GET', `${path}?limit=1`)).text.toString()) as {
    metadata: { resourceVersion: string };
  };
  const query = `watch=true&resourceVersion=${list.metadata.resourceVersion}`;
  const onEvent = (): void => {
    if (--left === 0) arrived();
  };
  const stops = await Promise.all(Array.from({ length: watchers }, () => watching.watch(`${path}?${query}`, onEvent)));
  const result = await median(changes, async () => {
    left = watchers;
    const all = new Promise<void>((done) => {
      arrived = done;
    });
    const started = performance.now();
    const label = { metadata: { labels: { turn: `t${Math.round(started)}` } } };
    await Promise.all([all, client.send('PATCH', name(7), label)]);
    return performance.now() - started;
  });
  for (const stop of stops) stop();
  watching.close();
  return result;
}

async function median(count: number, once: () => Promise<number>): Promise<number> {
  const times: number[] = [];
  for (let turn = 0; turn < count; turn++) times.push(await once());
  times.sort((a, b) => a - b);
  return Math.round((times[Math.floor(count / 2)] ?? NaN) * 10) / 10;
}

/** VmRSS of a process. */
function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? NaN) * 1024;
}
