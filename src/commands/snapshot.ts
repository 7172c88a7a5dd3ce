import type { Command } from 'commander';
import { Option } from 'commander';
import { deleteSnapshots, type DeleteFlags } from './snapshot/delete-snapshots.ts';
import { listSnapshots, treeOfSnapshots, type ListFlags } from './snapshot/list-snapshots.ts';
import { revertToSnapshot, type RevertFlags } from './snapshot/revert-to-snapshot.ts';
import { takeSnapshot, type TakeFlags } from './snapshot/take-snapshot.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, type KubeFlags } from '../cli/kube-options.ts';
import { parseInteger } from '../cli/resources/parse-integer.ts';

/** `virtctl snapshot create|list|tree|revert|delete`: points in time of machines. */
export function configure(command: Command, context: Context): void {
  command.usage('create VM [NAME] | list [VM] | tree VM | revert NAME | delete NAME... [options]');
  configureCreate(command.command('create').summary('take a snapshot of a machine'), context);
  configureList(command.command('list').alias('ls').summary('list snapshots'), context);
  configureTree(command.command('tree').summary('show the snapshots of a machine as a tree'), context);
  configureRevert(command.command('revert').summary('bring a machine back to a snapshot'), context);
  configureDelete(command.command('delete').alias('rm').summary('delete snapshots, and merge what they keep'), context);
}

function addWaitOptions(command: Command, what: string): void {
  addBooleanFlag(command, 'wait', what, true);
  command.addOption(
    new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(300_000, '5m'),
  );
  addKubeOptions(command);
}

function configureCreate(command: Command, context: Context): void {
  command
    .description('Take a snapshot of a machine, running, paused or stopped; or take them by the clock.')
    .argument('<vm>', 'the machine')
    .argument('[name]', "the snapshot's name; the machine's with the time when left out")
    .option('--memory', 'keep the memory of a running machine too')
    .addOption(
      new Option('--mode <mode>', 'inside of the disks, or in new files; chosen when left out').choices([
        'Auto',
        'Internal',
        'External',
      ]),
    )
    .addOption(
      new Option(
        '--quiesce <when>',
        "freeze the guest's file systems meanwhile; if its agent answers when left out",
      ).choices(['Auto', 'Required', 'Never']),
    )
    .option('--description <text>', 'what it is for')
    .addOption(
      new Option('--disk <name>', 'only this disk, by its name or device; may be given again').argParser(
        (value: string, before: readonly string[] | undefined) => [...(before ?? []), value],
      ),
    )
    .addOption(new Option('--ttl <duration>', 'delete it after this time, as 24h').argParser(parseDuration))
    .option('--retain', 'deleting the object leaves what it keeps')
    .option('--schedule <cron>', 'take them by the clock, as "0 3 * * *" or @daily')
    .option('--time-zone <zone>', 'with --schedule: its time zone, as Europe/Berlin; UTC when left out')
    .addOption(
      new Option('--keep <count>', 'with --schedule: how many are kept; 7 when left out').argParser(
        parseInteger('a number of snapshots', 1),
      ),
    )
    .option('-o, --output <format>', 'json|yaml|name|jsonpath=TEMPLATE instead of what was done');
  addWaitOptions(command, 'wait until it is taken');
  addExamples(command, [
    ['Before an upgrade', 'virtctl snapshot create web before-upgrade --memory --description "before the upgrade"'],
    ['Every night, the last fourteen', 'virtctl snapshot create web --schedule "0 3 * * *" --keep 14'],
    ['Only with frozen file systems', 'virtctl snapshot create db --quiesce Required --ttl 24h'],
  ]);
  command.action((machine: string, name: string | undefined, flags: TakeFlags) =>
    takeSnapshot(context, machine, name, flags),
  );
}

function configureList(command: Command, context: Context): void {
  command
    .description('List the snapshots of a machine, or of all machines of the namespace.')
    .argument('[vm]', 'the machine; all when left out')
    .option('-o, --output <format>', 'json|yaml|name|jsonpath=TEMPLATE')
    .option('--no-headers', 'leave the heading out');
  addKubeOptions(command);
  addExamples(command, [['Those of a machine', 'virtctl snapshot list web']]);
  command.action((machine: string | undefined, flags: ListFlags) => listSnapshots(context, machine, flags));
}

function configureTree(command: Command, context: Context): void {
  command
    .description('Show which snapshot follows which; * is the one that the machine goes on from.')
    .argument('<vm>', 'the machine');
  addKubeOptions(command);
  addExamples(command, [['The tree of a machine', 'virtctl snapshot tree web']]);
  command.action((machine: string, flags: KubeFlags) => treeOfSnapshots(context, machine, flags));
}

function configureRevert(command: Command, context: Context): void {
  command
    .description('Bring a machine back to a snapshot. What it has done since is lost, unless another snapshot has it.')
    .argument('<name>', 'the snapshot')
    .addOption(
      new Option('--power-state <state>', 'how it is afterwards; as it was when left out').choices([
        'Running',
        'Paused',
        'Stopped',
      ]),
    )
    .option('--restore-spec', "the machine's spec becomes that of the snapshot, where they differ")
    .option('--force', "keep the machine's spec where they differ: its disks go back, and it boots");
  addWaitOptions(command, 'wait until it is done');
  addExamples(command, [
    ['Back', 'virtctl snapshot revert before-upgrade'],
    ['With the hardware of then', 'virtctl snapshot revert before-upgrade --restore-spec'],
  ]);
  command.action((name: string, flags: RevertFlags) => revertToSnapshot(context, name, flags));
}

function configureDelete(command: Command, context: Context): void {
  command
    .description('Delete snapshots. What the machine and its other snapshots need of them is merged.')
    .argument('<name...>', 'the snapshots');
  addWaitOptions(command, 'wait until they are merged and gone');
  addExamples(command, [['One that is not needed any more', 'virtctl snapshot delete before-upgrade']]);
  command.action((names: string[], flags: DeleteFlags) => deleteSnapshots(context, names, flags));
}
