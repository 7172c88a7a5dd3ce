import type { Command } from 'commander';
import { Option } from 'commander';

/**
 * Adds a flag that is on or off, written as kubectl's are: `--wait`, `--wait=true`, `--wait=false`, and `--no-wait`.
 * {@link foldBooleanFlags} turns the forms with `=` into the others before the command line is parsed.
 *
 * @param name The long name without dashes.
 */
export function addBooleanFlag(command: Command, name: string, description: string, preset: boolean): void {
  command.addOption(new Option(`--${name}`, `${description} (--${name}=${preset ? 'false' : 'true'})`).default(preset));
  command.addOption(new Option(`--no-${name}`).hideHelp());
}

/**
 * Rewrites `--name=true` and `--name=false` for the flags of a command that take no value.
 *
 * @param argv The words of the command line; those after `--` stay as they are.
 */
export function foldBooleanFlags(argv: readonly string[], options: readonly Option[]): string[] {
  const end = argv.indexOf('--');
  const names = new Set(options.map(({ long }) => long).filter((long) => long !== undefined));
  return argv.map((word, index) => {
    if (end !== -1 && index > end) return word;
    const match = /^(--[a-z][a-z-]*)=(true|false)$/.exec(word);
    const name = match?.[1];
    if (name === undefined || !names.has(`--no-${name.slice(2)}`)) return word;
    return match?.[2] === 'true' ? name : `--no-${name.slice(2)}`;
  });
}
