#!/usr/bin/env node
/** The entry: makes the context from the process, runs one command line, sets the exit code. */
import { homedir } from 'node:os';
import process from 'node:process';
import { version } from '../src/base/version.ts';
import type { Context } from '../src/cli/context.ts';
import { runProgram } from '../src/cli/program.ts';
import { commands } from '../src/commands/registry.ts';

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // The second signal ends the process at once: the first may take its time to clean up.
  process.once(signal, () => {
    interrupted.abort(new Error(`interrupted by ${signal}`));
  });
}

// A reader that goes away (`virtctl get vm | head -1`) is not an error of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const context: Context = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
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

process.exitCode = await runProgram(process.argv.slice(2), context, { version, commands });
