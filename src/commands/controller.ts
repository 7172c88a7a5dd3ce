import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { Option, type Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import { createLogger, logLevels, type LogLevel } from '../base/logger.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { parseListenPort } from '../cli/resources/parse-integer.ts';

interface ControllerFlags extends KubeFlags {
  readonly webhook: boolean;
  readonly webhookListen: string;
  readonly webhookPort: number;
  readonly webhookService?: string;
  readonly webhookUrl?: string;
  readonly failurePolicy: 'Fail' | 'Ignore';
  readonly systemNamespace: string;
  readonly logLevel: LogLevel;
}

/** `virtctl controller`: what watches over the whole cluster, until it is told to end. */
export function configure(command: Command, context: Context): void {
  command
    .option('--no-webhook', 'serve no admission webhook')
    .option('--webhook-listen <address>', 'the address that the webhook listens on', '127.0.0.1')
    .option('--webhook-port <number>', 'the port that the webhook listens on; 0 for any', parseListenPort, 9443)
    .option('--webhook-service <namespace/name[:port]>', 'the Service in front of the webhook, in a cluster')
    .option('--webhook-url <url>', 'what the API server calls the webhook by; the address listened on when left out')
    .addOption(
      new Option('--failure-policy <policy>', 'what becomes of requests when no webhook answers')
        .choices(['Fail', 'Ignore'])
        .default('Fail'),
    )
    .option('--system-namespace <name>', "the namespace of the leader's Lease and the certificates", 'virtctl-system')
    .addOption(new Option('--log-level <level>', 'the least lines of the log').choices([...logLevels]).default('info'));
  addKubeOptions(command);
  addExamples(command, [
    ['Run it beside an API server on this machine', 'virtctl controller'],
    [
      'Run it in a cluster',
      'virtctl controller --webhook-listen 0.0.0.0 --webhook-service virtctl-system/virtctl-webhook',
    ],
  ]);
  command.action(async (flags: ControllerFlags) => {
    const webhook = flags.webhook ? webhookOptions(flags) : undefined;
    const logger = createLogger({
      level: flags.logLevel,
      write: (line) => void context.stderr.write(line),
      now: context.now,
    });
    const { runController } = await import('../controller/controller.ts');
    await withKubeClient(context, flags, (client) =>
      runController(
        {
          client,
          identity: `${hostname()}_${randomBytes(6).toString('hex')}`,
          namespace: flags.systemNamespace,
          webhook,
          logger,
        },
        context.signal,
      ),
    );
  });
}

function webhookOptions(flags: ControllerFlags): {
  readonly host: string;
  readonly port: number;
  readonly service?: { readonly namespace: string; readonly name: string; readonly port: number };
  readonly url?: string;
  readonly failurePolicy: 'Fail' | 'Ignore';
} {
  const { webhookService, webhookUrl, failurePolicy } = flags;
  if (webhookService !== undefined && webhookUrl !== undefined) {
    throw new UsageError('give --webhook-service or --webhook-url, not both');
  }
  const own = { host: flags.webhookListen, port: flags.webhookPort, failurePolicy };
  if (webhookUrl !== undefined) {
    if (!URL.canParse(webhookUrl) || new URL(webhookUrl).protocol !== 'https:') {
      throw new UsageError(`--webhook-url ${webhookUrl}: expected a URL as https://10.0.0.5:9443`);
    }
    return { ...own, url: webhookUrl };
  }
  if (webhookService !== undefined) {
    const [, namespace, name, port] = /^([a-z0-9-]+)\/([a-z0-9-]+)(?::(\d+))?$/.exec(webhookService) ?? [];
    if (namespace === undefined || name === undefined) {
      throw new UsageError(`--webhook-service ${webhookService}: expected NAMESPACE/NAME or NAMESPACE/NAME:PORT`);
    }
    return { ...own, service: { namespace, name, port: servicePort(port ?? '443') } };
  }
  if (['0.0.0.0', '::'].includes(own.host)) {
    throw new UsageError(`--webhook-listen ${own.host} needs --webhook-service or --webhook-url`, {
      hint: 'the API server has to be told one address to call',
    });
  }
  return own;
}

function servicePort(text: string): number {
  const port = Number(text);
  if (port < 1 || port > 65_535) throw new UsageError(`--webhook-service :${text}: expected a port from 1 to 65535`);
  return port;
}
