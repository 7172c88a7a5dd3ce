/**
 * Kills the embedded server with SIGKILL at random moments while clients write and watch, starts it again on the same
 * folder, and checks what must hold: every write that was answered is there; the watcher, which only ever resumes from
 * the last change it saw, has seen every change once and in order.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiProbe } from '../conformance/server-under-test.ts';
import type { Json, WatchEvent } from '../conformance/server-under-test.ts';
import { findFreePort, startTestProcess } from '../support/child-process.ts';
import type { TestProcess } from '../support/child-process.ts';
import { makeTestFolder } from '../support/test-folder.ts';

/** What a run counted. */
export interface CrashReport {
  readonly kills: number;
  readonly acknowledged: number;
  /** Writes without an answer: they may be there or not. */
  readonly unanswered: number;
  readonly watchedChanges: number;
  readonly watchResumes: number;
}

const path = '/api/v1/namespaces/default/configmaps';
const writers = 8;
const namesPerWriter = 6;
const serverScript = resolve(import.meta.dirname, 'serve.ts');

/** What a name's object may be: the value that was last acknowledged, or that of a write without an answer. */
interface Expected {
  /** Undefined: it is not there. */
  acknowledged: string | undefined;
  maybe: { readonly value: string | undefined } | undefined;
}

/** @throws Error that says what was lost, or seen twice, or out of order. */
export async function crashRun(kills: number, random: () => number, log: (line: string) => void): Promise<CrashReport> {
  const folder = makeTestFolder('crash');
  const port = await findFreePort();
  const counts = { acknowledged: 0, unanswered: 0, watchedChanges: 0, watchResumes: 0 };
  let server = await start(folder, port);
  const api = new ApiProbe({
    url: `https://127.0.0.1:${port}`,
    ca: readFileSync(join(folder, 'pki/ca.crt'), 'utf8'),
    token: readFileSync(join(folder, 'pki/admin.token'), 'utf8').trim(),
    isEmbedded: true,
  });
  const expected = new Map<string, Expected>();
  const stop = new AbortController();
  const list = (await api.get(path)).body;
  const watcher = new Follower(api, String((list['metadata'] as Json)['resourceVersion']));
  const watching = watcher.run(stop.signal);
  try {
    for (let kill = 0; kill < kills; kill++) {
      const round = new AbortController();
      const writing = Array.from({ length: writers }, (_, writer) =>
        write(api, writer, expected, counts, round.signal, random),
      );
      await delay(20 + random() * 250);
      await server.end('SIGKILL');
      round.abort();
      await Promise.all(writing);
      server = await start(folder, port);
      await check(api, expected);
      if ((kill + 1) % 10 === 0) log(`${kill + 1} kills, ${counts.acknowledged} writes acknowledged`);
    }
    const final = (await api.get(path)).body;
    await watcher.untilCaughtUp(Number((final['metadata'] as Json)['resourceVersion']));
    watcher.compare(final['items'] as Json[]);
  } finally {
    stop.abort();
    await server.end('SIGKILL');
    await watching;
    api.close();
  }
  return { kills, ...counts, watchedChanges: watcher.changes, watchResumes: watcher.resumes };
}

async function start(folder: string, port: number): Promise<TestProcess> {
  const server = await startTestProcess(process.execPath, ['--import', 'tsx', serverScript, folder, String(port)]);
  const end = performance.now() + 60_000;
  while (!server.output().includes('https://')) {
    if (!server.isRunning() || performance.now() > end)
      throw new Error(`the server does not start: ${server.output()}`);
    await delay(10);
  }
  return server;
}

async function write(
  api: ApiProbe,
  writer: number,
  expected: Map<string, Expected>,
  counts: { acknowledged: number; unanswered: number },
  signal: AbortSignal,
  random: () => number,
): Promise<void> {
  for (let turn = 0; !signal.aborted; turn++) {
    const name = `w${writer}-${Math.floor(random() * namesPerWriter)}`;
    const state = expected.get(name) ?? { acknowledged: undefined, maybe: undefined };
    expected.set(name, state);
    const remove = state.acknowledged !== undefined && random() < 0.2;
    const value = remove ? undefined : `${Date.now()}-${writer}-${turn}-${'x'.repeat(Math.floor(random() * 2000))}`;
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { value } };
    state.maybe = { value };
    try {
      const answer = remove
        ? await api.delete(`${path}/${name}`)
        : state.acknowledged === undefined
          ? await api.post(path, object)
          : await api.put(`${path}/${name}`, object);
      if (answer.code >= 300) throw new Error(`${name}: ${answer.text}`);
    } catch (error) {
      if (error instanceof Error && error.message.startsWith(`${name}: `)) throw error;
      counts.unanswered++;
      return;
    }
    counts.acknowledged++;
    state.acknowledged = value;
    state.maybe = undefined;
  }
}

async function check(api: ApiProbe, expected: Map<string, Expected>): Promise<void> {
  const items = (await api.get(path)).body['items'] as Json[];
  const found = new Map(
    items.map((item) => [String((item['metadata'] as Json)['name']), (item['data'] as Json)['value']]),
  );
  for (const [name, state] of expected) {
    const value = found.get(name);
    const isMaybe = state.maybe !== undefined && state.maybe.value === value;
    if (value !== state.acknowledged && !isMaybe) {
      throw new Error(`${name} is ${String(value)}; ${String(state.acknowledged)} was acknowledged`);
    }
    // From here on it is known.
    state.acknowledged = value as string | undefined;
    state.maybe = undefined;
  }
}

/** Follows every change, resuming from the last one that it saw. */
class Follower {
  readonly #api: ApiProbe;
  readonly #objects = new Map<string, unknown>();
  #revision: number;
  #failure: Error | undefined;
  changes = 0;
  resumes = 0;

  constructor(api: ApiProbe, revision: string) {
    this.#api = api;
    this.#revision = Number(revision);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#failure === undefined) {
      this.resumes++;
      try {
        const query = `watch=true&resourceVersion=${this.#revision}&timeoutSeconds=5`;
        await this.#api.watch(`${path}?${query}`, Infinity, { onEvent: (event) => this.#take(event) });
      } catch (error) {
        if (error instanceof Error && error.message.startsWith('watch: ')) this.#failure = error;
        await delay(20);
      }
    }
  }

  async untilCaughtUp(revision: number): Promise<void> {
    const end = performance.now() + 30_000;
    while (this.#revision < revision) {
      if (this.#failure !== undefined) throw this.#failure;
      if (performance.now() > end) throw new Error(`watch: at ${this.#revision}, the server at ${revision}`);
      await delay(10);
    }
  }

  compare(items: readonly Json[]): void {
    if (this.#failure !== undefined) throw this.#failure;
    const real = new Map(
      items.map((item) => [String((item['metadata'] as Json)['name']), (item['data'] as Json)['value']]),
    );
    const names = new Set([...real.keys(), ...this.#objects.keys()]);
    for (const name of names) {
      if (real.get(name) !== this.#objects.get(name)) throw new Error(`watch: ${name} is not what the server has`);
    }
  }

  #take({ type, object }: WatchEvent): void {
    if (type === 'ERROR') throw new Error(`watch: ${JSON.stringify(object)}`);
    const metadata = object['metadata'] as Json;
    const revision = Number(metadata['resourceVersion']);
    if (revision <= this.#revision) throw new Error(`watch: change ${revision} after ${this.#revision}`);
    const name = String(metadata['name']);
    const known = this.#objects.has(name);
    if (known !== (type !== 'ADDED'))
      throw new Error(`watch: ${type} of ${name}, which was ${known ? '' : 'not '}there`);
    this.#revision = revision;
    this.changes++;
    if (type === 'DELETED') this.#objects.delete(name);
    else this.#objects.set(name, (object['data'] as Json)['value']);
  }
}
