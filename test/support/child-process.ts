import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import process from 'node:process';

/** A program that a test started. It dies with the test's process, however that ends. */
export interface TestProcess {
  readonly pid: number;
  /** The end of what it wrote to stdout and stderr, at most 64 KiB. */
  output(): string;
  /** False from the moment it ended. */
  isRunning(): boolean;
  /** Sends a signal; resolves at once. */
  signal(signal: NodeJS.Signals): void;
  /** Sends a signal and waits for the end; SIGKILL follows after `graceMs`. Does nothing when it ended already. */
  end(signal?: NodeJS.Signals, graceMs?: number): Promise<void>;
}

/**
 * Starts a program that the kernel kills when this process dies (setpriv's --pdeathsig; Linux).
 *
 * @throws Error when it cannot be started.
 */
export async function startTestProcess(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<TestProcess> {
  const child: ChildProcess = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: options.env ?? process.env,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-65_536);
    });
  }
  await once(child, 'spawn');
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  return {
    pid: child.pid ?? 0,
    output: () => output,
    isRunning,
    signal: (signal) => void child.kill(signal),
    async end(signal = 'SIGTERM', graceMs = 10_000) {
      if (!isRunning()) return;
      const ended = once(child, 'exit');
      child.kill(signal);
      const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** Below what Linux gives out by itself (32768 and up): between here and the program's start nobody else is given it. */
const firstPort = 15_000;
const portCount = 17_000;

/** A TCP port of 127.0.0.1 that nobody listens on, by chance: other test files look for theirs at the same time. */
export async function findFreePort(): Promise<number> {
  for (;;) {
    const server = createServer();
    const port = firstPort + randomInt(portCount);
    try {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') continue;
      throw error;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}
