import { Option, type Command } from 'commander';
import { cancelMigrations } from './migrate/cancel-migrations.ts';
import { checkTarget } from './migrate/check-target.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { hypervisorKind } from '../api/kinds.ts';
import { UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addVerbOptions, resourceTypeOf, runMachineVerb, type VerbFlags } from '../cli/machine-verb.ts';

interface MigrateFlags extends VerbFlags {
  readonly to?: string;
  readonly cancel?: boolean;
  readonly copyStorage?: 'Auto' | 'None' | 'All' | 'Incremental';
  readonly bandwidth?: number;
  readonly giveUpAfter?: number;
  readonly postCopy?: boolean;
  readonly autoConverge?: boolean;
}

/** `virtctl migrate`: running machines to other nodes, without a break. */
export function configure(command: Command, context: Context): void {
  addVerbOptions(command);
  command
    .option('--to <node>', 'the node; chosen by the scheduler when left out')
    .option('--cancel', 'call off the migration that goes on; the machine stays where it is')
    .addOption(
      new Option(
        '--copy-storage <which>',
        'disks that are copied: All takes those in pools of the node along; None says that all nodes have them',
      ).choices([...['Auto', 'None', 'All', 'Incremental']]),
    )
    .option('--bandwidth <MiB>', 'the most it may use, in MiB per second', parseCount)
    .option('--give-up-after <duration>', 'call it off when it takes longer, as 10m', parseDuration)
    .option('--post-copy', 'go on at the target before all memory is there')
    .option('--auto-converge', 'slow the guest down when it changes its memory faster than it can be sent');
  addExamples(command, [
    ['To whatever node is best', 'virtctl migrate vm/web'],
    ['To a certain one, and do not wait', 'virtctl migrate web --to node-2 --wait=false'],
    ['With its disks in pools of the node', 'virtctl migrate web --copy-storage All'],
    ['Call it off', 'virtctl migrate web --cancel'],
  ]);
  command.action(async (names: string[], flags: MigrateFlags) => {
    if (flags.cancel === true) {
      if (flags.to !== undefined) throw new UsageError('give --to or --cancel, not both');
      await cancelMigrations(context, names, flags);
      return;
    }
    const { copyStorage, bandwidth, giveUpAfter, postCopy, autoConverge } = flags;
    const nodeName = flags.to?.replace(/^(node|hv|hypervisors?)\//, '');
    if (nodeName === '') throw new UsageError('--to: expected the name of a node');
    const migrate = {
      ...(nodeName === undefined ? {} : { nodeName }),
      ...(copyStorage === undefined ? {} : { copyStorage }),
      ...(bandwidth === undefined ? {} : { bandwidthMiBPerSecond: bandwidth }),
      ...(giveUpAfter === undefined ? {} : { timeoutSeconds: Math.max(1, Math.ceil(giveUpAfter / 1000)) }),
      ...(postCopy === true ? { postCopy } : {}),
      ...(autoConverge === true ? { autoConverge } : {}),
    };
    await runMachineVerb(
      context,
      names,
      flags,
      flags.wait ? 'migrated' : 'asked to migrate',
      async (machine, client) => {
        const verb = { verb: 'Migrate', parameters: { migrate } } as const;
        if (nodeName === undefined) return verb;
        if (nodeName === machine.spec.nodeName) return { ...verb, already: `on ${nodeName}` };
        const hypervisors = client.resource<Hypervisor>(resourceTypeOf(hypervisorKind));
        await checkTarget(hypervisors, machine, nodeName, context.signal);
        return verb;
      },
    );
  });
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new UsageError(`--bandwidth ${text}: expected a whole number of 1 or more`);
  return Number(text);
}
