import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { executorKubeconfig, setUpHost } from './install/node-setup.ts';
import { installationManifests, printedManifest, resourceOfManifest } from './install/installation.ts';
import type { Manifest } from './install/manifest.ts';
import { strayObjects } from './install/stray-objects.ts';
import { parseNodes } from './install/parse-nodes.ts';
import { untilNodeReady } from './install/until-node-ready.ts';
import { hypervisorLabel } from './install/workloads.ts';
import { findCondition } from '../api/meta.ts';
import { FailedError, UsageError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { readError } from '../cli/input/list-inputs.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { parseInteger, parsePort } from '../cli/resources/parse-integer.ts';
import { addDryRunOption, dryRunNote, type DryRun } from '../cli/resources/resource-options.ts';
import { waitForObject } from '../cli/wait-for-object.ts';
import { writeResult } from '../cli/write-result.ts';
import { writeYamlDocuments } from '../cli/yaml/write-yaml.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { refOf, type KubeObject } from '../kube/object.ts';
import { isNotFound } from '../kube/status-error.ts';

interface InstallFlags extends KubeFlags {
  readonly image: string;
  readonly nodes?: string;
  readonly replicas: number;
  readonly dryRun: DryRun;
  readonly output?: 'yaml' | 'json' | 'name';
}

/** The image of this version. */
const defaultImage = `ghcr.io/virtctl/virtctl:${version}`;

/** `virtctl install`: puts the control plane into a cluster; and `virtctl install node`: the executor onto a host. */
export function configure(command: Command, context: Context): void {
  command
    .option('--image <image>', 'the container image', defaultImage)
    .option(
      '--nodes <choice>',
      `the nodes that get an executor: names, as a,b; labels, as rack=1; or none; label ${hypervisorLabel}=true when left out`,
    )
    .addOption(
      new Option('--replicas <count>', 'how many controllers and schedulers run')
        .argParser(parseInteger('a number', 1))
        .default(2),
    )
    .addOption(new Option('-o, --output <format>', 'how to print what is applied').choices(['yaml', 'json', 'name']));
  addDryRunOption(command);
  addKubeOptions(command);
  addExamples(command, [
    ['Install, or upgrade, the control plane', 'virtctl install'],
    ['See what would be applied', 'virtctl install --dry-run -o yaml'],
    ['Executors on two nodes', 'virtctl install --nodes node-1,node-2'],
    ['A host without kubelet', 'virtctl install node root@node-3 --binary ./virtctl'],
  ]);
  command.action((flags: InstallFlags) => install(context, flags));
  configureNode(command.command('node').summary('install the executor on a host, over ssh'), context);
}

async function install(context: Context, flags: InstallFlags): Promise<void> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._/:@-]*$/.test(flags.image))
    throw new UsageError(`--image ${flags.image}: not an image`);
  const manifests = installationManifests({
    image: flags.image,
    replicas: flags.replicas,
    nodes: parseNodes(flags.nodes),
  });
  if (flags.dryRun === 'client') {
    await print(context, flags, manifests);
    return;
  }
  await withKubeClient(context, flags, async (client) => {
    const shown: KubeObject[] = [];
    for (const manifest of manifests) {
      const { stored, word } = await applyOne(client, manifest, flags.dryRun === 'server', context.signal);
      shown.push(stored);
      if (flags.output === undefined) {
        await writeResult(context, `${printedManifest(manifest)} ${word}${dryRunNote(flags.dryRun)}\n`);
      }
    }
    await prune(context, client, manifests, flags);
    if (flags.output !== undefined) await print(context, flags, shown as unknown as readonly Manifest[]);
    if (flags.dryRun === 'none') await untilEstablished(client, manifests, context.signal);
  });
}

async function applyOne(
  client: KubeClient,
  manifest: Manifest,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<{ readonly stored: KubeObject; readonly word: string }> {
  const resource = client.resource<KubeObject>(resourceOfManifest(manifest));
  try {
    const before = await resource.find(refOf(manifest), { signal });
    // A server may count an apply that changes nothing for a change, and takes long to apply a large schema.
    if (before !== undefined && includes(before, manifest)) return { stored: before, word: 'unchanged' };
    const stored = await resource.apply(manifest, { force: true, fieldManager: 'virtctl', dryRun, signal });
    return { stored, word: before === undefined ? 'created' : 'configured' };
  } catch (error) {
    const isMissing = isNotFound(error);
    // On a server dry run the namespaces of what is in them are not there.
    if (isMissing && dryRun && manifest.metadata.namespace !== undefined) return { stored: manifest, word: 'created' };
    if (!isMissing || manifest.kind !== 'CustomResourceDefinition') throw error;
    throw new FailedError('this server has the kinds built in: there is nothing to install', {
      cause: error,
      hint: 'virtctl standalone runs everything in one process',
    });
  }
}

/** Deletes what another version, or other options, had installed, and these do not have. */
async function prune(
  context: Context,
  client: KubeClient,
  manifests: readonly Manifest[],
  { dryRun, output }: InstallFlags,
): Promise<void> {
  const { signal, stderr } = context;
  for (const stray of await strayObjects(client, manifests, signal)) {
    const { uid } = stray.metadata;
    try {
      await client.resource<KubeObject>(resourceOfManifest(stray)).delete(refOf(stray), {
        ...{ dryRun: dryRun === 'server', propagationPolicy: 'Background', signal },
        preconditions: { uid },
      });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    const line = `${printedManifest(stray)} pruned${dryRunNote(dryRun)}\n`;
    if (output === undefined) await writeResult(context, line);
    else stderr.write(line);
  }
}

/** Whether all that is wanted stands in what there is; the server's defaults may stand beside it. */
function includes(actual: unknown, wanted: unknown): boolean {
  // Servers leave out what is empty.
  if (actual === undefined) {
    const isEmpty = typeof wanted === 'object' && wanted !== null && Object.keys(wanted).length === 0;
    return isEmpty || wanted === false || wanted === 0 || wanted === '';
  }
  if (Array.isArray(wanted)) {
    const [list, entries]: [readonly unknown[], unknown] = [wanted, actual];
    if (!Array.isArray(entries) || entries.length !== list.length) return false;
    return list.every((entry, index) => includes((entries as readonly unknown[])[index], entry));
  }
  if (typeof wanted !== 'object' || wanted === null) return wanted === actual;
  if (typeof actual !== 'object' || actual === null) return false;
  const there = actual as Readonly<Record<string, unknown>>;
  return Object.entries(wanted).every(([key, value]) => value === undefined || includes(there[key], value));
}

/** A kind can be used once its definition is established, a moment after it was made. */
async function untilEstablished(
  client: KubeClient,
  manifests: readonly Manifest[],
  signal: AbortSignal,
): Promise<void> {
  for (const manifest of manifests.filter(({ kind }) => kind === 'CustomResourceDefinition')) {
    await waitForObject(
      client.resource<KubeObject>(resourceOfManifest(manifest)),
      refOf(manifest),
      (now) => {
        const status = (now as { readonly status?: Parameters<typeof findCondition>[0] } | undefined)?.status;
        return findCondition(status, 'Established')?.status === 'True';
      },
      { signal, timeoutMs: 60_000, what: `${manifest.metadata.name ?? ''} to be established` },
    );
  }
}

async function print(context: Context, flags: InstallFlags, manifests: readonly Manifest[]): Promise<void> {
  switch (flags.output) {
    case 'yaml':
      return writeResult(context, writeYamlDocuments(manifests));
    case 'json':
      return writeResult(
        context,
        `${JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests }, undefined, 4)}\n`,
      );
    case 'name':
      return writeResult(context, manifests.map((one) => `${printedManifest(one)}\n`).join(''));
    case undefined:
      return writeResult(
        context,
        manifests.map((one) => `${printedManifest(one)} applied${dryRunNote(flags.dryRun)}\n`).join(''),
      );
  }
}

interface NodeFlags extends KubeFlags {
  readonly binary?: string;
  readonly nodeName?: string;
  readonly nodeKubeconfig?: string;
  readonly nodeConnect: string;
  readonly tokenLifetime: number;
  readonly port?: number;
  readonly identity?: string;
  readonly wait: boolean;
  readonly timeout: number;
}

function configureNode(command: Command, context: Context): void {
  command
    .description('Install the executor on a host without kubelet, as a systemd unit, over ssh.')
    .argument('<destination>', 'where ssh goes, as root@node-3')
    .option('--binary <file>', 'the single executable to copy there; left out where virtctl is installed')
    .option('--node-name <name>', "the node's name; the host's when left out")
    .option('--node-kubeconfig <file>', "the executor's kubeconfig; one with a token of its own is made when left out")
    .option('--node-connect <uri>', "the host's libvirt", 'qemu:///system')
    .addOption(
      new Option('--token-lifetime <duration>', 'how long the token is to be good, as 8760h')
        .argParser(parseDuration)
        .default(365 * 24 * 3_600_000, '8760h'),
    )
    .addOption(new Option('-p, --port <number>', "ssh's port").argParser(parsePort))
    .option('-i, --identity <file>', "ssh's key")
    .addOption(
      new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(120_000, '2m'),
    );
  addBooleanFlag(command, 'wait', 'wait until the node is ready', true);
  addKubeOptions(command);
  command.action(async (destination: string, _flags: unknown, invoked: Command) => {
    const flags = invoked.optsWithGlobals<NodeFlags>();
    const read = async (file: string): Promise<Buffer> => {
      try {
        return await readFile(resolve(context.cwd, file));
      } catch (cause) {
        throw readError(file, cause);
      }
    };
    const host = hostOf(destination);
    const nodeName = (flags.nodeName ?? host).toLowerCase();
    const binary = flags.binary === undefined ? undefined : await read(flags.binary);
    const ssh = {
      destination,
      port: flags.port,
      identity: flags.identity === undefined ? undefined : resolve(context.cwd, flags.identity),
      env: context.env,
      signal: context.signal,
    };
    const given = flags.nodeKubeconfig === undefined ? undefined : await read(flags.nodeKubeconfig);
    await withKubeClient(context, flags, async (client) => {
      const kubeconfig = async (): Promise<string> => {
        if (given !== undefined) return given.toString('utf8');
        const { selectConnection } = await import('../kube/connection.ts');
        const { env, home, cwd, signal } = context;
        const connection = await selectConnection({ ...flags, env, home, cwd });
        const made = await executorKubeconfig(client, connection, Math.floor(flags.tokenLifetime / 1000), signal);
        context.stderr.write(`the executor's token is good until ${made.expiresAt}; run this again before\n`);
        return made.text;
      };
      await setUpHost(ssh, { binary, kubeconfig, nodeName, uri: flags.nodeConnect });
      await writeResult(context, `hypervisor.virtctl.dev/${nodeName} installed\n`);
      if (!flags.wait) return;
      await untilNodeReady(client, nodeName, { signal: context.signal, timeoutMs: flags.timeout });
    });
  });
}

/** `root@node-3` is on node-3. */
export function hostOf(destination: string): string {
  const match = /^(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*)$/.exec(destination);
  const [, host] = match ?? [];
  if (host === undefined) throw new UsageError(`"${destination}" is no host for ssh`, { hint: 'expected root@HOST' });
  return host;
}
