import type { Command } from 'commander';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addVerbOptions, runMachineVerb } from '../cli/machine-verb.ts';
import type { VerbFlags } from '../cli/machine-verb.ts';

/** `virtctl save`: memory to disk and off (libvirt's managed save); `virtctl start` continues it. */
export function configure(command: Command, context: Context): void {
  addVerbOptions(command);
  command.option('--bypass-cache', "do not go through the node's page cache");
  addExamples(command, [['Put a machine to sleep on disk', 'virtctl save web']]);
  command.action(async (names: string[], flags: VerbFlags & { readonly bypassCache?: boolean }) => {
    const parameters = flags.bypassCache === true ? { save: { bypassCache: true } } : {};
    await runMachineVerb(context, names, flags, 'saved', () => ({ verb: 'Save', parameters }));
  });
}
