import { Readable, Writable } from 'node:stream';
import { Chalk } from 'chalk';
import type { Context } from '../../src/cli/context.ts';
import { runProgram } from '../../src/cli/program.ts';
import { commands } from '../../src/commands/registry.ts';

/** What a command line printed and ended with. */
export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line inside this process, without a terminal. */
export async function runVirtctl(
  argv: readonly string[],
  options: { readonly cwd?: string; readonly stdin?: string | Uint8Array; readonly env?: Context['env'] } = {},
): Promise<Outcome> {
  const stdout = new TextSink();
  const stderr = new TextSink();
  const exitCode = await runProgram(
    argv,
    {
      stdin: Readable.from(options.stdin === undefined ? [] : [Buffer.from(options.stdin)]),
      stdout,
      stderr,
      env: options.env ?? {},
      cwd: options.cwd ?? process.cwd(),
      home: '/nonexistent',
      signal: new AbortController().signal,
      now: () => 1_700_000_000_000,
      colours: () => Promise.resolve(new Chalk({ level: 0 })),
    },
    { version: '1.2.3', commands },
  );
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() };
}

class TextSink extends Writable {
  readonly #chunks: Buffer[] = [];

  override _write(chunk: Buffer | string, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(Buffer.from(chunk));
    done();
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}
