import { Option, type Command } from 'commander';
import { leaseRows } from './network/lease-rows.ts';
import { networkLines } from './network/network-table.ts';
import { virtualMachineKind, virtualNetworkKind } from '../api/kinds.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import { restartAnnotation, type VirtualNetwork } from '../api/virtual-network.ts';
import { toKubernetesMicroTime } from '../base/clock.ts';
import { ConflictError } from '../base/errors.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { parseLabelSelector } from '../cli/label-selector.ts';
import { resourceTypeOf } from '../cli/machine-verb.ts';
import { reportError } from '../cli/report-error.ts';
import { exitCodeOf, ReportedFailure } from '../cli/reported-failure.ts';
import { writeObjects } from '../cli/resources/print-objects.ts';
import { alignColumns } from '../cli/resources/print-table.ts';
import { addSelectionOptions, selectObjects, type SelectionFlags } from '../cli/selection.ts';
import { waitForObject } from '../cli/wait-for-object.ts';
import { writeResult } from '../cli/write-result.ts';
import { writeYaml } from '../cli/yaml/write-yaml.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { refOf } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';

interface ListFlags extends KubeFlags, SelectionFlags {
  readonly output?: 'wide' | 'json' | 'yaml' | 'name';
  readonly headers: boolean;
}

interface VerbFlags extends KubeFlags, SelectionFlags {
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout: number;
  readonly force?: boolean;
  readonly disable?: boolean;
}

/** `virtctl network`: what a user of virsh's net- family looks for. */
export function configure(command: Command, context: Context): void {
  const list = command.command('list').alias('ls').description('List networks, with their nodes and guests.');
  addListOptions(list, ['wide', 'json', 'yaml', 'name']);
  list.action((names: string[], flags: ListFlags) => withNetworks(context, flags, (all) => all.list(names, flags)));

  const leases = command.command('leases').description('Show the addresses that DHCP servers of networks gave.');
  addListOptions(leases, ['wide', 'json', 'yaml']);
  leases.action((names: string[], flags: ListFlags) => withNetworks(context, flags, (all) => all.leases(names, flags)));

  const verb = (name: string, summary: string, force?: string): Command => {
    const one = command.command(name).description(summary);
    one.argument('[name...]', 'networks, as NAME or vnet/NAME');
    addSelectionOptions(one);
    if (force !== undefined) one.option('--force', force);
    addBooleanFlag(one, 'wait', 'wait until it is done on all nodes', true);
    one.addOption(
      new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(60_000, '1m'),
    );
    addKubeOptions(one);
    return one;
  };
  verb('start', 'Start networks.').action((names: string[], flags: VerbFlags) =>
    withNetworks(context, flags, (all) => all.each(names, flags, (one) => all.power(one, true, flags))),
  );
  verb(
    'stop',
    'Stop networks, and keep them stopped.',
    'also where guests are attached: they are without their network until it is started again',
  ).action((names: string[], flags: VerbFlags) =>
    withNetworks(context, flags, (all) => all.each(names, flags, (one) => all.power(one, false, flags))),
  );
  verb(
    'restart',
    'Stop networks and start them again: what waits for a restart takes effect.',
    'also where guests are attached: they lose their connection for some seconds',
  ).action((names: string[], flags: VerbFlags) =>
    withNetworks(context, flags, (all) => all.each(names, flags, (one) => all.restart(one, flags))),
  );
  const autostart = verb('autostart', 'Have networks started with their nodes.');
  autostart.option('--disable', 'not any more');
  autostart.action((names: string[], flags: VerbFlags) =>
    withNetworks(context, flags, (all) => all.each(names, flags, (one) => all.autostart(one, flags))),
  );

  addExamples(command, [
    ['Who has which address', 'virtctl network leases front'],
    ['All networks', 'virtctl network list -A -o wide'],
    ['Make changes take effect that wait', 'virtctl network restart front'],
  ]);
}

function addListOptions(command: Command, formats: readonly string[]): void {
  command.argument('[name...]', 'networks, as NAME or vnet/NAME; all of the namespace when left out');
  command.option('-l, --selector <labels>', 'networks with these labels', parseLabelSelector);
  command.option('-A, --all-namespaces', 'of every namespace');
  command.addOption(new Option('-o, --output <format>', 'how to print').choices([...formats]));
  command.option('--no-headers', 'without the line of headings');
  addKubeOptions(command);
}

function withNetworks(context: Context, flags: KubeFlags, work: (all: Networks) => Promise<void>): Promise<void> {
  return withKubeClient(context, flags, (client) => work(new Networks(context, client)));
}

class Networks {
  readonly #context: Context;
  readonly #client: KubeClient;
  readonly #networks: ResourceClient<VirtualNetwork>;

  constructor(context: Context, client: KubeClient) {
    this.#context = context;
    this.#client = client;
    this.#networks = client.resource<VirtualNetwork>(resourceTypeOf(virtualNetworkKind));
  }

  async list(names: readonly string[], flags: ListFlags): Promise<void> {
    const { found, failures } = await this.#select(names, flags);
    const { output } = flags;
    if (output === 'json' || output === 'yaml' || output === 'name') {
      const single = names.length === 1;
      const options = { single, showManagedFields: false, headers: flags.headers };
      if (found.length > 0 || !single)
        await writeResult(this.#context, await writeObjects({ type: output }, found, options));
    } else if (found.length > 0) {
      const options = {
        wide: output === 'wide',
        headers: flags.headers,
        namespaces: flags.allNamespaces === true,
        nowMs: this.#context.now(),
      };
      await writeResult(this.#context, alignColumns(networkLines(found, options)).text);
    } else if (failures.length === 0) this.#context.stderr.write('No networks found.\n');
    this.#finish(failures);
  }

  async leases(names: readonly string[], flags: ListFlags): Promise<void> {
    const { signal } = this.#context;
    const { found, failures } = await this.#select(names, flags);
    const namespace = flags.allNamespaces === true ? undefined : this.#client.namespace;
    const machines = this.#client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    const rows = leaseRows(found, (await machines.listAll({ namespace, signal })).items);
    if (flags.output === 'json') await writeResult(this.#context, `${JSON.stringify(rows, undefined, 4)}\n`);
    else if (flags.output === 'yaml') await writeResult(this.#context, writeYaml(rows));
    else if (rows.length > 0) {
      const namespaces = flags.allNamespaces === true;
      const wide = flags.output === 'wide';
      const header = [
        ...(namespaces ? ['NAMESPACE'] : []),
        ...['NETWORK', 'NODE', 'IP', 'MAC', 'HOSTNAME', 'MACHINE', 'EXPIRES'],
        ...(wide ? ['CLIENT-ID'] : []),
      ];
      const lines = rows.map((row) => [
        ...(namespaces ? [row.namespace] : []),
        ...[row.network, row.node, row.prefix === undefined ? row.ip : `${row.ip}/${row.prefix}`, row.mac],
        ...[row.hostname ?? '<none>', row.machine ?? '<none>', row.expiresAt ?? 'never'],
        ...(wide ? [row.clientId ?? '<none>'] : []),
      ]);
      await writeResult(this.#context, alignColumns(flags.headers ? [header, ...lines] : lines).text);
    } else if (failures.length === 0) this.#context.stderr.write('No leases found.\n');
    this.#finish(failures);
  }

  /** Runs `work` for each network; a failure of one does not stop the others. */
  async each(
    names: readonly string[],
    flags: SelectionFlags,
    work: (network: VirtualNetwork) => Promise<string>,
  ): Promise<void> {
    const { signal, stdout } = this.#context;
    const { namespace } = this.#client;
    const { found, failed } = await selectObjects(this.#networks, names.map(plainName), flags, namespace, signal);
    const failures = [...failed];
    for (const error of failed) this.#report(error);
    for (const network of found) {
      try {
        stdout.write(`virtualnetwork.virtctl.dev/${network.metadata.name ?? ''} ${await work(network)}\n`);
      } catch (error) {
        signal.throwIfAborted();
        failures.push(error);
        this.#report(error);
      }
    }
    this.#finish(failures);
  }

  async power(network: VirtualNetwork, active: boolean, flags: VerbFlags): Promise<string> {
    const word = active ? 'started' : 'stopped';
    if (!active) assertFree(network, flags);
    const isSo = (network.spec.active ?? true) === active;
    const patched = isSo ? network : await this.#patch(network, { spec: { active } });
    if (flags.wait) await this.#untilReady(patched, flags, `to be ${word}`);
    return isSo ? `already ${word}` : word;
  }

  async restart(network: VirtualNetwork, flags: VerbFlags): Promise<string> {
    assertFree(network, flags);
    const asked = toKubernetesMicroTime(this.#context.now());
    const annotations = { [restartAnnotation]: asked };
    const patched = await this.#patch(network, { metadata: { annotations } });
    if (flags.wait) {
      await this.#untilReady(patched, flags, 'to be restarted', (now) =>
        // Who asked again since then, and will be served by one restart with this one, has another time.
        (now.status?.nodes ?? []).every(
          (line) => line.restartedAt === now.metadata.annotations?.[restartAnnotation] || line.state !== 'Active',
        ),
      );
    }
    return 'restarted';
  }

  async autostart(network: VirtualNetwork, flags: VerbFlags): Promise<string> {
    const autostart = flags.disable !== true;
    const patched = await this.#patch(network, { spec: { autostart } });
    if (flags.wait) await this.#untilReady(patched, flags, 'to be marked');
    return autostart ? 'started with its nodes' : 'not started with its nodes';
  }

  #patch(network: VirtualNetwork, patch: object): Promise<VirtualNetwork> {
    const { uid } = network.metadata;
    const { metadata = {}, ...rest } = patch as { readonly metadata?: object };
    return this.#networks.mergePatch(
      refOf(network),
      { ...rest, metadata: { ...metadata, uid } },
      { signal: this.#context.signal },
    );
  }

  async #untilReady(
    network: VirtualNetwork,
    flags: VerbFlags,
    what: string,
    holds: (now: VirtualNetwork) => boolean = () => true,
  ): Promise<void> {
    const name = network.metadata.name ?? '';
    const settled = (now: VirtualNetwork | undefined): boolean => {
      if (now === undefined) throw new ConflictError(`vnet/${name} was deleted meanwhile`);
      const { nodes = [], conditions = [] } = now.status ?? {};
      const isSeen = nodes.every(({ observedGeneration: seen }) => (seen ?? 0) >= (network.metadata.generation ?? 0));
      const ready = conditions.find(({ type }) => type === 'Ready');
      return isSeen && ready?.status === 'True' && ready.observedGeneration === now.metadata.generation && holds(now);
    };
    const { signal } = this.#context;
    const options = { signal, timeoutMs: flags.timeout, what: `vnet/${name} ${what}` };
    await waitForObject(this.#networks, refOf(network), settled, options);
  }

  async #select(
    names: readonly string[],
    flags: ListFlags,
  ): Promise<{ readonly found: readonly VirtualNetwork[]; readonly failures: readonly unknown[] }> {
    const { signal } = this.#context;
    const all = names.length === 0 ? { ...flags, ...(flags.selector === undefined ? { all: true } : {}) } : flags;
    const chosen = await selectObjects(this.#networks, names.map(plainName), all, this.#client.namespace, signal);
    for (const error of chosen.failed) this.#report(error);
    return { found: chosen.found, failures: chosen.failed };
  }

  #report(error: unknown): void {
    this.#context.stderr.write(reportError(error, false).text);
  }

  #finish(failures: readonly unknown[]): void {
    if (failures.length > 0) throw new ReportedFailure(exitCodeOf(failures));
  }
}

function assertFree({ metadata, status }: VirtualNetwork, flags: VerbFlags): void {
  const guests = [...new Set((status?.nodes ?? []).flatMap(({ attached }) => attached ?? []))];
  if (guests.length === 0 || flags.force === true) return;
  const shown = guests.slice(0, 5).join(', ') + (guests.length > 5 ? ` and ${guests.length - 5} more` : '');
  throw new ConflictError(`vnet/${metadata.name ?? ''} has guests that would lose their connection: ${shown}`, {
    hint: 'shut them down first, or use --force: their machines are plugged in again when the network runs',
  });
}

function plainName(name: string): string {
  return name.replace(/^(vnets?|virtualnetworks?)(\.virtctl\.dev)?\//i, '');
}
