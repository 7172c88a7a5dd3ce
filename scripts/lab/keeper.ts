/**
 * Keeps a lab in the background: `lab up` starts it, the other commands talk to it through a socket in the lab's folder,
 * one line of JSON each way. The lab ends with it.
 *
 *   tsx scripts/lab/keeper.ts '{"folder": …, "nodes": 3, "api": "kube"}'
 */
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  controlPlaneParts,
  startLab,
  type ControlPlanePart,
  type Lab,
  type LabOptions,
  type LabStatus,
} from './lab.ts';
import { nodeParts, type NodePart } from './lab-node.ts';
import { labVariable, removeRemains } from './remains.ts';

/** What can be done to a node. */
export const nodeVerbs = ['kill', 'start', 'pause', 'resume', 'partition', 'heal'] as const;
/** See {@link nodeVerbs}. */
export type NodeVerb = (typeof nodeVerbs)[number];

/** What a keeper is asked. */
export interface KeeperRequest {
  readonly verb: 'status' | 'down' | NodeVerb;
  /** A node, `scheduler` or `controller`. */
  readonly target?: string;
  /** Of a node; the whole when left out. */
  readonly part?: string;
}

/** What it answers. */
export type KeeperAnswer = { readonly status: LabStatus } | { readonly error: string };

const answerDeadlineMs = 180_000;

/** Where a lab's keeper listens. */
export function keeperSocket(folder: string): string {
  return join(folder, 'keeper.sock');
}

/**
 * Asks the keeper of a lab.
 *
 * @returns undefined when none listens.
 * @throws Error with what it says when it cannot do it.
 */
export function askKeeper(folder: string, request: KeeperRequest): Promise<LabStatus | undefined> {
  return new Promise((resolve, reject) => {
    const client = createConnection(keeperSocket(folder), () => client.write(`${JSON.stringify(request)}\n`));
    let said = '';
    client.setTimeout(answerDeadlineMs, () => client.destroy(new Error('the keeper of the lab does not answer')));
    client.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    client.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(error);
    });
    client.once('close', (failed) => {
      if (failed) return;
      if (!said.endsWith('\n')) {
        reject(new Error('the keeper of the lab ended'));
        return;
      }
      const answer = JSON.parse(said) as KeeperAnswer;
      if ('error' in answer) reject(new Error(answer.error));
      else resolve(answer.status);
    });
  });
}

async function keep(options: LabOptions): Promise<void> {
  process.env[labVariable] = options.folder;
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  const lab = await startLab({ ...options, log: say });
  let ending: Promise<void> | undefined;
  const end = (): Promise<void> => (ending ??= lab.close());
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => void end().finally(() => process.exit(0)));
  }
  let turn: Promise<unknown> = Promise.resolve();
  const server = createServer((client) => {
    client.on('error', () => client.destroy());
    createInterface({ input: client }).once('line', (line) => {
      const done = turn.then(() => answer(lab, JSON.parse(line) as KeeperRequest, end));
      turn = done;
      void done.then((said) => {
        client.end(`${JSON.stringify(said)}\n`);
        if (ending !== undefined) client.once('close', () => process.exit(0));
      });
    });
  });
  server.listen(keeperSocket(options.folder));
}

async function answer(lab: Lab, request: KeeperRequest, end: () => Promise<void>): Promise<KeeperAnswer> {
  try {
    const status = lab.status();
    if (request.verb === 'down') {
      await end();
      return { status };
    }
    if (request.verb !== 'status') await act(lab, request.verb, request.target ?? '', request.part ?? 'node');
    return { status: lab.status() };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

async function act(lab: Lab, verb: NodeVerb, target: string, part: string): Promise<void> {
  if ((controlPlaneParts as readonly string[]).includes(target)) {
    const process_ = lab.part(target as ControlPlanePart);
    const signals = { kill: 'SIGKILL', pause: 'SIGSTOP', resume: 'SIGCONT' } as const;
    if (verb === 'start') await process_.start();
    else if (verb === 'partition' || verb === 'heal') throw new Error(`${target} is not behind the switch`);
    else await process_.signal(signals[verb]);
    return;
  }
  if (!(nodeParts as readonly string[]).includes(part)) {
    throw new Error(`a node has no part ${part}; there are ${nodeParts.join(', ')}`);
  }
  const node = lab.node(target);
  if (verb === 'partition' || verb === 'heal') await node[verb]();
  else await node[verb](part as NodePart);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = JSON.parse(process.argv[2] ?? '{}') as LabOptions;
  try {
    await keep(options);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    await removeRemains(options.folder);
    process.exit(1);
  }
}
