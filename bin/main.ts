/** Makes the context from the process, runs one command line, sets the exit code. */
import { homedir } from 'node:os';
import process from 'node:process';
import { version } from '../src/base/version.ts';
import type { Context } from '../src/cli/context.ts';
import { runProgram } from '../src/cli/program.ts';
import { commands } from '../src/commands/registry.ts';

/** @param argv The words after the program's name. */
export async function main(argv: readonly string[]): Promise<void> {
  const interrupted = new AbortController();
  let endedBy: NodeJS.Signals | undefined;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // The second signal ends the process at once: the first may take its time to clean up.
    process.once(signal, () => {
      endedBy = signal;
      interrupted.abort(new Error(`interrupted by ${signal}`));
    });
  }

  // A reader that goes away (`virtctl get vm | head -1`) is not an error of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });

  const context: Context = {
    // Node.js makes a stream when it is first asked for; most commands never read.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    get stderr() {
      return process.stderr;
    },
    env: process.env,
    cwd: process.cwd(),
    home: homedir(),
    signal: interrupted.signal,
    now: () => Date.now(),
    async colours() {
      const { Chalk } = await import('chalk');
      const plain = (process.env['NO_COLOR'] ?? '') !== '' || !process.stdout.isTTY;
      return new Chalk({ level: plain ? 0 : 1 });
    },
  };

  process.exitCode = await runProgram(argv, context, { version, commands });
  // What was not finished ends by the signal, as by default: a shell then stops its script too, and shows 130 or 143.
  if (endedBy !== undefined && process.exitCode !== 0) process.kill(process.pid, endedBy);
}
