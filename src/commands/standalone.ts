import { hostname, userInfo } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { createLogger } from '../base/logger.ts';
import { version } from '../base/version.ts';
import type { Context } from '../cli/context.ts';
import { assertObjectName } from '../cli/object-name.ts';
import { parseListenPort } from '../cli/resources/parse-integer.ts';
import { standaloneKubeconfigs } from '../kube/connection.ts';

const defaultPort = 7443;

interface Flags {
  readonly dataDir?: string;
  readonly listen: string;
  readonly port: number;
  readonly executor: boolean;
  readonly connect: string;
  readonly nodeName: string;
  readonly metricsAddress: string;
}

/** `virtctl standalone`: serves Kubernetes' API and our kinds from this process; backup and restore of its store. */
export function configure(command: Command, context: Context): void {
  command
    .option('--data-dir <folder>', "where to keep everything; root's is /var/lib/virtctl/standalone")
    .option('--listen <address>', 'the address to listen on', '127.0.0.1')
    .option('--port <number>', 'the port to listen on; 0 for any', parseListenPort, defaultPort)
    .option('--connect <uri>', "where this machine's libvirt is", 'qemu:///system')
    .option('--node-name <name>', 'what this machine is called as a node', hostname().toLowerCase())
    .option(
      '--metrics-address <host:port>',
      "where the executor's metrics are told; empty for nowhere",
      '127.0.0.1:9177',
    )
    .option('--no-executor', 'serve the API only: executors run elsewhere')
    .addHelpText(
      'after',
      `\nThe kubeconfig is written to DATA-DIR/kubeconfig. Ends on SIGINT or SIGTERM; machines go on running.`,
    )
    .action((flags: Flags) => serve(context, flags));
  command
    .command('backup <file>')
    .description('Copy the store to a file, also while the server runs.')
    .option('--data-dir <folder>', 'the data folder')
    .action(async (file: string, _own: unknown, called: Command) => {
      const { backupStore } = await import('../standalone/storage/backup.ts');
      await backupStore(
        dataFolder(context, called.optsWithGlobals<Partial<Flags>>().dataDir),
        resolve(context.cwd, file),
      );
      context.stdout.write(`${file}\n`);
    });
  command
    .command('restore <file>')
    .description('Replace the store by a backup. The server must not be running.')
    .option('--data-dir <folder>', 'the data folder')
    .action(async (file: string, _own: unknown, called: Command) => {
      const { restoreStore } = await import('../standalone/storage/backup.ts');
      await restoreStore(
        dataFolder(context, called.optsWithGlobals<Partial<Flags>>().dataDir),
        resolve(context.cwd, file),
      );
      context.stderr.write(`restored ${file}\n`);
    });
}

/** The folder whose kubeconfig the other commands find by themselves. */
function dataFolder(context: Context, given: string | undefined): string {
  if (given !== undefined) return resolve(context.cwd, given);
  const [ofRoot = '', own = ''] = standaloneKubeconfigs(context.env, context.home);
  return dirname(userInfo().uid === 0 ? ofRoot : own);
}

async function serve(context: Context, flags: Flags): Promise<void> {
  if (flags.executor) assertObjectName(flags.nodeName, '--node-name');
  const { startStandalone } = await import('../standalone/standalone.ts');
  const logger = createLogger({
    level: 'info',
    now: context.now,
    write: (line) => void context.stderr.write(line),
  });
  const running = await startStandalone({
    folder: dataFolder(context, flags.dataDir),
    host: flags.listen,
    port: flags.port,
    logger,
    version,
    executor: flags.executor
      ? {
          nodeName: flags.nodeName,
          uri: flags.connect,
          metricsAddress: flags.metricsAddress === '' ? undefined : flags.metricsAddress,
        }
      : undefined,
  });
  context.stdout.write(`${running.kubeconfig}\n`);
  try {
    await untilAborted(context.signal);
  } finally {
    await running.close();
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((done) => signal.addEventListener('abort', () => done(), { once: true }));
}
