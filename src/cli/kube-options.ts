import type { Command } from 'commander';
import type { Context } from './context.ts';
import { assertNamespaceName } from './object-name.ts';
import type { KubeClient } from '../kube/kube-client.ts';

/** The flags that say which API server and namespace, as kubectl has them. */
export interface KubeFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
}

/** Adds `--kubeconfig`, `--context` and `-n`. */
export function addKubeOptions(command: Command): void {
  command
    .option('-n, --namespace <name>', "the namespace; the kubeconfig context's when left out")
    .option('--context <name>', 'the context of the kubeconfig')
    .option('--kubeconfig <file>', 'the kubeconfig; else KUBECONFIG, ~/.kube/config, a local standalone');
}

/**
 * Runs `work` with a client of the API server that the flags and the environment name, and closes it after. The client
 * is loaded here, so that help and completion do not pay for it.
 *
 * @param isExpected Which of the server's warnings are no news to the user.
 * @throws UsageError for what cannot be a namespace; as selectConnection, and whatever `work` throws.
 */
export async function withKubeClient<T>(
  context: Context,
  flags: KubeFlags,
  work: (client: KubeClient) => Promise<T>,
  isExpected: (warning: string) => boolean = () => false,
): Promise<T> {
  assertNamespaceName(flags.namespace);
  const [{ selectConnection }, { KubeClient }] = await Promise.all([
    import('../kube/connection.ts'),
    import('../kube/kube-client.ts'),
  ]);
  const { env, home, cwd } = context;
  const connection = await selectConnection({ ...flags, env, home, cwd });
  const client = new KubeClient(connection, { onWarning: warner(context, isExpected), useSocket: true });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** More than a server has to say; beyond it, it is not listened to. */
const maxWarnings = 100;

/** Shows each of the server's warnings once, as kubectl does. */
function warner(context: Context, isExpected: (warning: string) => boolean): (text: string) => void {
  const shown = new Set<string>();
  return (text) => {
    if (shown.has(text) || shown.size >= maxWarnings || isExpected(text)) return;
    shown.add(text);
    // One line, and nothing that steers the terminal.
    // eslint-disable-next-line no-control-regex -- control characters are what is taken out
    context.stderr.write(`Warning: ${text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')}\n`);
  };
}
