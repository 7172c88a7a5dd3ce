import type { Readable, Writable } from 'node:stream';
import type { ChalkInstance } from 'chalk';

/**
 * All that a command may know of its process. A command takes it as an argument, and so runs without a process in
 * tests. Made once, in bin/main.ts.
 */
export interface Context {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** Results, and nothing else. */
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  /** Progress, warnings and errors. */
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder that relative paths start from. */
  readonly cwd: string;
  /** The user's home folder. */
  readonly home: string;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** Wall-clock milliseconds. */
  readonly now: () => number;
  /** Colours for stderr and stdout: level 0 when `NO_COLOR` is set or stdout is not a terminal. Loaded when used. */
  readonly colours: () => Promise<ChalkInstance>;
}
