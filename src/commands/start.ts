import type { Command } from 'commander';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addVerbOptions, runMachineVerb } from '../cli/machine-verb.ts';
import type { VerbFlags } from '../cli/machine-verb.ts';

/** `virtctl start`: a halted machine gets `runStrategy: Always`; others an operation Start. */
export function configure(command: Command, context: Context): void {
  addVerbOptions(command);
  command.option('--paused', 'leave its CPUs paused');
  addExamples(command, [
    ['Start two machines and wait until they run', 'virtctl start web db'],
    ['Start all machines with a label, in every namespace', 'virtctl start -l tier=front -A'],
  ]);
  command.action(async (names: string[], flags: VerbFlags & { readonly paused?: boolean }) => {
    const paused = flags.paused === true;
    await runMachineVerb(context, names, flags, paused ? 'started, paused' : 'started', () => ({
      verb: 'Start',
      paused,
    }));
  });
}
