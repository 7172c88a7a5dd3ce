import { Option, type Command } from 'commander';
import { openHosts } from './recover/open-hosts.ts';
import { recoverHosts } from './recover/recover-hosts.ts';
import { UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { localUri } from '../cli/local-domain.ts';
import { assertObjectName } from '../cli/object-name.ts';
import { addDryRunOption, type DryRun } from '../cli/resources/resource-options.ts';
import type { KubeClient } from '../kube/kube-client.ts';

interface RecoverFlags extends KubeFlags {
  readonly node?: string;
  readonly connect?: readonly string[];
  readonly dryRun: DryRun;
  readonly output?: 'yaml' | 'json' | 'name';
}

/** `virtctl recover`: makes the objects of a lost control plane again, from the marks in the domains of hosts. */
export function configure(command: Command, context: Context): void {
  command
    .option('--node <name>', "the node's name; that of its Hypervisor when left out")
    .option('-c, --connect <uri...>', 'the libvirt of a node, or of several; else LIBVIRT_DEFAULT_URI, qemu:///system')
    .addOption(new Option('-o, --output <format>', 'how to print what is made').choices(['yaml', 'json', 'name']));
  addDryRunOption(command);
  addKubeOptions(command);
  addExamples(command, [
    ['What would be made, on a node', 'virtctl recover --dry-run'],
    ["Another node's, over TLS", 'virtctl recover --node node-2 --connect qemu+tls://node-2/system'],
    ['Several at once, which may share pools', 'virtctl recover --connect qemu+tls://{node-1,node-2,node-3}/system'],
  ]);
  command.action(async (flags: RecoverFlags) => {
    const uris = flags.connect ?? [localUri(context, {})];
    if (uris.length > 1 && flags.node !== undefined) throw new UsageError('give --node with one --connect only');
    if (flags.node !== undefined) assertObjectName(flags.node, '--node');
    const work = async (client: KubeClient): Promise<void> => {
      const opened = await openHosts(context, client, uris, flags.node);
      try {
        await recoverHosts(context, client, opened, flags);
      } finally {
        await Promise.all(opened.hosts.map(({ libvirt }) => libvirt.close()));
      }
    };
    // What an object names is made after it, or told of at the end.
    await withKubeClient(context, flags, work, (warning) => /: there is no \w+ "[^"]*"( in \S+)? yet$/.test(warning));
  });
}
