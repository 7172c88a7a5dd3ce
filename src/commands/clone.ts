import type { Command } from 'commander';
import { Option } from 'commander';
import { cloneMachine, type CloneFlags } from './clone/clone-machine.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions } from '../cli/kube-options.ts';

/** `virtctl clone vm A B`: a machine like another one, with disks of its own. */
export function configure(command: Command, context: Context): void {
  command.usage('vm NAME NEW-NAME [options]');
  const machine = command
    .command('vm')
    .alias('virtualmachine')
    .summary('make a machine like another one')
    .description(
      'Make a machine like another one, with disks, MAC addresses and a UUID of its own, and through cloud-init, where ' +
        'the machine has it, a host name and machine id. The machine may run meanwhile: its disks are copied as they ' +
        'are at one moment.',
    )
    .argument('<name>', 'the machine')
    .argument('<new-name>', "the clone's name")
    .option('--linked', 'store only what differs; a snapshot of the machine stays below the disks of both')
    .option('--node <name>', 'the node it runs on; chosen by the scheduler when left out')
    .option('--no-start', 'leave it off (run strategy Halted)');
  addBooleanFlag(machine, 'wait', 'wait until it runs, or is defined', true);
  machine.addOption(
    new Option('--timeout <duration>', 'how long each step may take, as 30s')
      .argParser(parseDuration)
      .default(300_000, '5m'),
  );
  addKubeOptions(machine);
  addExamples(machine, [
    ['A full copy', 'virtctl clone vm web web-2'],
    ['Ten that take no space at first', 'virtctl clone vm golden worker-1 --linked'],
  ]);
  machine.action((name: string, copy: string, flags: CloneFlags) => cloneMachine(context, name, copy, flags));
}
