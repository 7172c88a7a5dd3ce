import type { Command } from 'commander';
import type { Context } from '../cli/context.ts';
import { parseSeconds } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addVerbOptions, runMachineVerb } from '../cli/machine-verb.ts';
import type { VerbFlags } from '../cli/machine-verb.ts';

/** `virtctl stop`: asks the guest first, and powers it off only by force or when its grace period is over. */
export function configure(command: Command, context: Context): void {
  addVerbOptions(command);
  command
    .option('--force', 'power it off without asking the guest')
    .option('--grace-period <seconds>', "what the guest has; the machine's own when left out", parseSeconds);
  addExamples(command, [
    ['As its power button would', 'virtctl stop web'],
    ['Give the guest ten seconds', 'virtctl stop web --grace-period 10'],
  ]);
  command.action(
    async (names: string[], flags: VerbFlags & { readonly force?: boolean; readonly gracePeriod?: number }) => {
      await runMachineVerb(context, names, flags, 'stopped', () => ({
        verb: 'Stop',
        force: flags.force === true,
        gracePeriodSeconds: flags.gracePeriod,
      }));
    },
  );
}
