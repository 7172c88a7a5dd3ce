import { PassThrough, Readable, Writable } from 'node:stream';
import { Chalk } from 'chalk';
import type { Context } from '../../src/cli/context.ts';
import { runProgram } from '../../src/cli/program.ts';
import { commands } from '../../src/commands/registry.ts';
import { version } from '../../src/base/version.ts';

/** What a command line did. */
export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a command line finds around it. */
export interface CommandSurroundings {
  /** Standard input; empty by default. */
  readonly stdin?: string | Uint8Array;
  /** Whether standard input says that it is a terminal. */
  readonly isTerminal?: boolean;
  /** The environment; empty by default, so that nothing of the machine's counts. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly home?: string;
  /** As SIGINT would. */
  readonly signal?: AbortSignal;
  /** Gets all of standard output whenever there is more. */
  readonly onOutput?: (text: string) => void;
}

/** Runs a command line of virtctl in this process, with the registry's commands and no terminal unless told. */
export async function commandLine(
  args: readonly string[],
  surroundings: CommandSurroundings = {},
): Promise<CommandResult> {
  const stdout = new Collected(surroundings.onOutput);
  const stderr = new Collected();
  const stdin =
    surroundings.stdin === undefined ? new PassThrough().end() : Readable.from([Buffer.from(surroundings.stdin)]);
  const context: Context = {
    stdin: Object.assign(stdin, { isTTY: surroundings.isTerminal === true }),
    stdout,
    stderr,
    env: surroundings.env ?? {},
    cwd: surroundings.cwd ?? '/',
    home: surroundings.home ?? '/nonexistent',
    signal: surroundings.signal ?? new AbortController().signal,
    now: () => Date.now(),
    colours: () => Promise.resolve(new Chalk({ level: 0 })),
  };
  const exitCode = await runProgram(args, context, { version, commands });
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() };
}

class Collected extends Writable {
  readonly #chunks: Buffer[] = [];
  readonly #onOutput: ((text: string) => void) | undefined;

  constructor(onOutput?: (text: string) => void) {
    super();
    this.#onOutput = onOutput;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(Buffer.from(chunk));
    this.#onOutput?.(this.text());
    done();
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}
