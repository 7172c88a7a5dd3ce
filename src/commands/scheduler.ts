import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import process from 'node:process';
import { Option, type Command } from 'commander';
import { createLogger } from '../base/logger.ts';
import { UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addKubeOptions, withKubeClient } from '../cli/kube-options.ts';
import type { KubeFlags } from '../cli/kube-options.ts';

/** `virtctl scheduler`: gives machines without a node one; several may run, one of them leads. */
export function configure(command: Command, context: Context): void {
  addKubeOptions(command);
  command
    .option('--lease-namespace <name>', "the namespace of the leader's lease", 'virtctl-system')
    .addOption(
      new Option('--lease-duration <duration>', 'how long the others wait for a leader that is silent')
        .argParser(parseDuration)
        .default(15_000, '15s'),
    )
    .action(async (flags: KubeFlags & { readonly leaseNamespace: string; readonly leaseDuration: number }) => {
      const leaseDurationMs = flags.leaseDuration;
      if (leaseDurationMs < 1_000) throw new UsageError('--lease-duration: expected at least 1s');
      const { runScheduler } = await import('../scheduler/run-scheduler.ts');
      const write = (line: string): void => void context.stderr.write(line);
      const logger = createLogger({ level: 'info', now: context.now, write });
      await withKubeClient(context, flags, (client) =>
        runScheduler(
          {
            client,
            identity: `${hostname()}_${process.pid}_${randomUUID().slice(0, 8)}`,
            namespace: flags.leaseNamespace,
            // In the proportions of client-go.
            election: {
              leaseDurationMs,
              renewDeadlineMs: (leaseDurationMs * 2) / 3,
              retryPeriodMs: (leaseDurationMs * 2) / 15,
            },
            newToken: () => randomUUID().slice(0, 8),
            logger,
          },
          context.signal,
        ),
      );
    });
}
