import type { Command } from 'commander';
import { version } from '../base/version.ts';
import type { Context } from '../cli/context.ts';

/** `virtctl version`: prints the client's version. */
export function configure(command: Command, context: Context): void {
  command.action(() => {
    context.stdout.write(`${version}\n`);
  });
}
