/**
 * The built command line as a user has it: `dist`-like bundle, one process for each call. Built once for each test file,
 * inside node_modules so that the bundle finds the one package that is not in it.
 */
import { spawn, spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import type { ExecutorNode } from '../support/executor-node.ts';
import { debianKubectl, installedKubectl } from '../support/kubectl-program.ts';

const root = resolve(import.meta.dirname, '../..');

/** What a call did. */
export interface CallResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The bundle, and calls of it. */
export interface VirtctlProcess {
  /** The bundle's entry. */
  readonly path: string;
  /** Runs `virtctl WORDS…` against a node's API server and libvirt. */
  call(node: ExecutorNode, words: readonly string[], input?: string): Promise<CallResult>;
  /** Runs another program in the same surroundings. */
  run(
    node: ExecutorNode,
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ): Promise<CallResult>;
  remove(): void;
}

/** Bundles the command line. */
export function buildVirtctl(): VirtctlProcess {
  const folder = join(root, `node_modules/.cache/virtctl-end-to-end-${process.pid}`);
  const build = spawnSync(process.execPath, ['--import', 'tsx', join(root, 'scripts/build.ts'), folder], {
    cwd: root,
    encoding: 'utf8',
  });
  if (build.status !== 0) throw new Error(build.stderr);
  return {
    path: join(folder, 'virtctl.js'),
    run: (node, program, args, env) => run(program, args, node, '', env),
    call: (node, words, input = '') => run(process.execPath, [join(folder, 'virtctl.js'), ...words], node, input),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Runs kubectl against a node's API server. */
export async function kubectl(node: ExecutorNode, words: readonly string[], input = ''): Promise<CallResult> {
  const program = installedKubectl() ?? (await debianKubectl());
  return run(program, ['--cache-dir', join(node.libvirtd.dir, 'kubectl'), ...words], node, input);
}

async function run(
  program: string,
  args: readonly string[],
  node: ExecutorNode,
  input: string,
  env: Readonly<Record<string, string>> = {},
): Promise<CallResult> {
  const child = spawn(program, args, {
    cwd: node.libvirtd.dir,
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 120_000,
    killSignal: 'SIGKILL',
    env: {
      PATH: process.env['PATH'],
      HOME: node.libvirtd.dir,
      KUBECONFIG: node.kubeconfig,
      LIBVIRT_DEFAULT_URI: node.libvirtd.uri,
      ...env,
    },
  });
  child.stdin.on('error', () => undefined); // a command that does not read
  child.stdin.end(input);
  const ended = new Promise<number | null>((done, fail) => {
    child.once('error', fail);
    child.once('close', (status) => done(status));
  });
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { status, stdout, stderr };
}
