import type { Command } from 'commander';
import { Option } from 'commander';
import { busiest, usageOf, type MachineUsage } from './top/machine-usage.ts';
import { hypervisorKind, virtualMachineKind } from '../api/kinds.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { formatBytesRounded, parseQuantity } from '../api/quantity.ts';
import { domainName, type VirtualMachine } from '../api/virtual-machine.ts';
import { systemClock } from '../base/clock.ts';
import { NotFoundError, UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { withKubeClient } from '../cli/kube-options.ts';
import { parseLabelSelector } from '../cli/label-selector.ts';
import { addLocalOptions, localUri, type LocalFlags } from '../cli/local-domain.ts';
import { resourceTypeOf } from '../cli/machine-verb.ts';
import { alignColumns } from '../cli/resources/print-table.ts';
import { writeResult } from '../cli/write-result.ts';

interface TopFlags extends LocalFlags {
  readonly allNamespaces?: boolean;
  readonly selector?: string;
  /** Milliseconds. */
  readonly interval: number;
  readonly sortBy: 'cpu' | 'memory' | 'block' | 'net' | 'name';
  readonly headers: boolean;
  readonly output?: 'json';
}

/** `virtctl top vm|node`: what machines of this node use, from two samples of one bulk call; what nodes have and gave. */
export function configure(command: Command, context: Context): void {
  command
    .argument('[kind]', 'vm or node', 'vm')
    .argument('[name...]', 'only these')
    .option('-l, --selector <labels>', 'only machines with these labels', parseLabelSelector)
    .option('-A, --all-namespaces', 'in every namespace')
    .addOption(
      new Option('--interval <duration>', 'the time between the two samples')
        .argParser(parseDuration)
        .default(1000, '1s'),
    )
    .addOption(
      new Option('--sort-by <column>', 'the largest first')
        .choices(['cpu', 'memory', 'block', 'net', 'name'])
        .default('cpu'),
    )
    .option('--no-headers', 'without the line of headings')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['json']));
  addLocalOptions(command);
  addExamples(command, [
    ['The machines of this node, the busiest first', 'virtctl top vm -A'],
    ['How full nodes are', 'virtctl top node'],
  ]);
  command.action(async (kind: string, names: readonly string[], flags: TopFlags) => {
    if (['vm', 'vms', 'virtualmachine', 'virtualmachines'].includes(kind)) await topMachines(context, names, flags);
    else if (['node', 'nodes', 'hv', 'hypervisor', 'hypervisors'].includes(kind)) await topNodes(context, names, flags);
    else throw new UsageError(`there is no top of "${kind}"; there is one of vm and of node`);
  });
}

async function topMachines(context: Context, names: readonly string[], flags: TopFlags): Promise<void> {
  const { signal } = context;
  if (names.length > 0 && flags.allNamespaces === true) throw new UsageError('-A lists; it does not go with names');
  if (names.length > 0 && flags.selector !== undefined) throw new UsageError('give names or -l, not both');
  const machines = await withKubeClient(context, flags, async (client) => {
    const resources = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    const namespace = flags.allNamespaces === true ? undefined : client.namespace;
    const { items } = await resources.listAll({ namespace, labelSelector: flags.selector, signal });
    const plain = names.map((name) => name.replace(/^[^/]+\//, ''));
    const missing = plain.find((name) => !items.some(({ metadata }) => metadata.name === name));
    if (missing !== undefined) throw new NotFoundError(`there is no vm/${missing}`);
    return plain.length === 0 ? items : items.filter(({ metadata }) => plain.includes(metadata.name ?? ''));
  });
  const { openLibvirt } = await import('../libvirt/libvirt.ts');
  const libvirt = await openLibvirt(localUri(context, flags), { signal });
  let usages: MachineUsage[];
  try {
    const sample = () => libvirt.domains.stats(['state', 'cpu', 'balloon', 'vcpu', 'interface', 'block'], { signal });
    const [first, firstAt] = [await sample(), performance.now()];
    await systemClock.sleep(flags.interval, signal);
    const [second, secondAt] = [await sample(), performance.now()];
    const before = new Map(first.map((stats) => [stats.uuid, stats]));
    const now = new Map(second.map((stats) => [stats.uuid, stats]));
    usages = machines.flatMap((machine): MachineUsage[] => {
      const uuid = (machine.status?.domain?.uuid ?? machine.metadata.uid ?? '').toLowerCase();
      const stats = now.get(uuid) ?? second.find(({ name }) => name === domainName(machine));
      if (stats === undefined) return [];
      const { name = '', namespace = '' } = machine.metadata;
      return [{ namespace, name, ...usageOf(before.get(stats.uuid), stats, (secondAt - firstAt) / 1000) }];
    });
  } finally {
    await libvirt.close();
  }
  const elsewhere = machines.length - usages.length;
  if (elsewhere > 0) {
    context.stderr.write(
      `note: ${elsewhere} machine${elsewhere === 1 ? ' has no domain' : 's have no domains'} here\n`,
    );
  }
  await print(context, flags, busiest(usages, flags.sortBy), (usage) => [
    ...(flags.allNamespaces === true ? [['NAMESPACE', usage.namespace] as const] : []),
    ['NAME', usage.name],
    ['STATE', usage.state],
    ['CPU', percent(usage.cpuPercent)],
    ['CPUS', usage.cpus === undefined ? '-' : String(usage.cpus)],
    ['MEMORY', bytes(usage.memoryUsedBytes)],
    ['OF', bytes(usage.memoryBytes)],
    ['READ/S', bytes(usage.blockReadBytesPerSecond)],
    ['WRITE/S', bytes(usage.blockWriteBytesPerSecond)],
    ['RX/S', bytes(usage.netReceiveBytesPerSecond)],
    ['TX/S', bytes(usage.netTransmitBytesPerSecond)],
  ]);
}

async function topNodes(context: Context, names: readonly string[], flags: TopFlags): Promise<void> {
  const { items } = await withKubeClient(context, flags, (client) =>
    client.resource<Hypervisor>(resourceTypeOf(hypervisorKind)).listAll({ signal: context.signal }),
  );
  const missing = names.find((name) => !items.some(({ metadata }) => metadata.name === name));
  if (missing !== undefined) throw new NotFoundError(`there is no hypervisor "${missing}"`);
  const nodes = items
    .filter(({ metadata }) => names.length === 0 || names.includes(metadata.name ?? ''))
    .map(({ metadata, status }) => {
      const amount = (from: 'capacity' | 'allocatable' | 'allocated', what: string): number | undefined => {
        const given = status?.[from]?.[what];
        return given === undefined ? undefined : parseQuantity(given);
      };
      return {
        name: metadata.name ?? '',
        cpus: amount('capacity', 'cpu'),
        cpusAllocated: amount('allocated', 'cpu'),
        cpusAllocatable: amount('allocatable', 'cpu'),
        memoryBytes: amount('capacity', 'memory'),
        memoryAllocatedBytes: amount('allocated', 'memory'),
        memoryAllocatableBytes: amount('allocatable', 'memory'),
        domains: amount('allocated', 'domains'),
      };
    });
  const share = (part: number | undefined, whole: number | undefined): string =>
    part === undefined || whole === undefined || whole === 0 ? '-' : percent((part / whole) * 100);
  const sorted = nodes.sort((a, b) => (b.cpusAllocated ?? 0) - (a.cpusAllocated ?? 0) || (a.name < b.name ? -1 : 1));
  await print(context, flags, sorted, (node) => [
    ['NAME', node.name],
    ['MACHINES', node.domains === undefined ? '-' : String(node.domains)],
    ['CPUS', node.cpus === undefined ? '-' : String(node.cpus)],
    ['CPU GIVEN', share(node.cpusAllocated, node.cpusAllocatable)],
    ['MEMORY', bytes(node.memoryBytes)],
    ['MEMORY GIVEN', share(node.memoryAllocatedBytes, node.memoryAllocatableBytes)],
  ]);
}

async function print<T extends object>(
  context: Context,
  flags: TopFlags,
  items: readonly T[],
  row: (item: T) => readonly (readonly [string, string])[],
): Promise<void> {
  if (flags.output === 'json') {
    await writeResult(context, `${JSON.stringify({ items }, undefined, 4)}\n`);
    return;
  }
  const rows = items.map(row);
  const [first] = rows;
  if (first === undefined) {
    context.stderr.write('Nothing to show.\n');
    return;
  }
  const header = flags.headers ? [first.map(([name]) => name)] : [];
  await writeResult(context, alignColumns([...header, ...rows.map((cells) => cells.map(([, text]) => text))]).text);
}

function percent(value: number | undefined): string {
  return value === undefined ? '-' : `${value.toFixed(value < 9.95 ? 1 : 0)}%`;
}

function bytes(value: number | undefined): string {
  return value === undefined ? '-' : formatBytesRounded(Math.round(value));
}
