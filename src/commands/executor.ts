import { hostname } from 'node:os';
import { Option, type Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import { createLogger, logLevels, type LogLevel } from '../base/logger.ts';
import type { Context } from '../cli/context.ts';
import { assertObjectName } from '../cli/object-name.ts';
import { parseSeconds } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';

interface ExecutorFlags extends KubeFlags {
  readonly nodeName: string;
  readonly connect: string;
  readonly dataDir: string;
  readonly metricsAddress: string;
  readonly leaseDuration: number;
  readonly migrationUri?: string;
  readonly logLevel: LogLevel;
}

/** `virtctl executor`: the agent of a node, until it is told to end. */
export function configure(command: Command, context: Context): void {
  command
    .option('--node-name <name>', "the node's name", hostname().toLowerCase())
    .option('--connect <uri>', 'where libvirt is', 'qemu:///system')
    .option('--data-dir <folder>', 'where files of machines are made', '/var/lib/virtctl/executor')
    .option('--metrics-address <host:port>', 'where metrics and health are told; empty for nowhere', '127.0.0.1:9177')
    .option(
      '--lease-duration <duration>',
      'how long without a sign of life before the node counts as lost',
      parseSeconds,
      40,
    )
    .option(
      '--migration-uri <uri>',
      "how other nodes' libvirts reach this one; qemu+tls://HOSTNAME/system when left out",
    )
    .addOption(new Option('--log-level <level>', 'the least lines of the log').choices([...logLevels]).default('info'));
  addKubeOptions(command);
  addExamples(command, [
    ['Run the agent of this node', 'virtctl executor --node-name node-1'],
    [
      'Run it against another libvirt',
      'virtctl executor --node-name node-2 --connect qemu+unix:///system?socket=/run/x',
    ],
  ]);
  command.action(async (flags: ExecutorFlags) => {
    const { nodeName } = flags;
    assertObjectName(nodeName, '--node-name');
    if (flags.leaseDuration < 4) throw new UsageError(`--lease-duration ${flags.leaseDuration}: expected 4 s or more`);
    const logger = createLogger({
      level: flags.logLevel,
      write: (line) => void context.stderr.write(line),
      now: context.now,
    });
    const { runExecutor } = await import('../executor/executor.ts');
    await withKubeClient(context, flags, (client) =>
      runExecutor(
        {
          client,
          nodeName,
          uri: flags.connect,
          dataFolder: flags.dataDir,
          metricsAddress: flags.metricsAddress === '' ? undefined : flags.metricsAddress,
          leaseSeconds: flags.leaseDuration,
          migrationUri: flags.migrationUri ?? `qemu+tls://${hostname()}/system`,
          logger,
        },
        context.signal,
      ),
    );
  });
}
