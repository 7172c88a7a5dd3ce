import type { Command } from 'commander';
import type { Context } from './context.ts';

/**
 * Adds a command's arguments, options, help and action to `command`, which has its name and summary already. The
 * action throws a VirtctlError for every failure; `bin/main.ts` prints it and sets the exit code.
 */
export type CommandModule = { readonly configure: (command: Command, context: Context) => void };

/** One command as the top-level program knows it, before its module is loaded. */
export interface CommandSpec {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** One line for `virtctl --help`, lower-case, without a full stop. */
  readonly summary: string;
  /** The heading it stands under in `virtctl --help`. */
  readonly group: string;
  readonly load: () => Promise<CommandModule>;
}
