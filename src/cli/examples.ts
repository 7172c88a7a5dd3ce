import type { Command } from 'commander';

/**
 * Puts examples at the end of a command's help.
 *
 * @param examples Pairs of what it does, one line, and the command line that does it.
 */
export function addExamples(command: Command, examples: readonly (readonly [what: string, line: string])[]): void {
  const lines = examples.map(([what, line]) => `  # ${what}\n  ${line}`);
  command.addHelpText('after', `\nExamples:\n${lines.join('\n\n')}`);
}
