import { Option, type Command } from 'commander';
import { drainedAnnotation, label, machinesOn, startAfterDrain, stopForDrain } from './node/drain-node.ts';
import {
  drainPlan,
  hasOtherNode,
  migrateForDrain,
  type CopyStorage,
  type DrainPlan,
} from './node/migrate-for-drain.ts';
import { nodeLines, nodeStatus } from './node/node-table.ts';
import { migrationsTo, untilOver } from './node/open-migrations.ts';
import { untoleratedNotes } from './node/untolerated-notes.ts';
import { hypervisorConditions, leaseNamespace, type Hypervisor } from '../api/hypervisor.ts';
import { hypervisorKind, virtualMachineKind } from '../api/kinds.ts';
import { findCondition } from '../api/meta.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import { FailedError, TimedOutError, toError, UsageError } from '../base/errors.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration, parseSeconds } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { resourceTypeOf } from '../cli/machine-verb.ts';
import { reportError } from '../cli/report-error.ts';
import { exitCodeOf, ReportedFailure } from '../cli/reported-failure.ts';
import { alignColumns } from '../cli/resources/print-table.ts';
import { writeResult } from '../cli/write-result.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { refOf, type KubeObject } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { builtin } from '../kube/resource-type.ts';

interface Lease extends KubeObject {
  readonly spec?: { readonly renewTime?: string };
}

interface DrainFlags extends KubeFlags {
  readonly stop?: boolean;
  readonly force?: boolean;
  readonly gracePeriod?: number;
  readonly wait: boolean;
  readonly timeout: number;
  readonly dryRun?: boolean;
  readonly copyStorage?: CopyStorage;
}

/** `virtctl node`: what an administrator does with nodes. */
export function configure(command: Command, context: Context): void {
  const run =
    <Flags extends KubeFlags>(work: (nodes: Nodes, names: readonly string[], flags: Flags) => Promise<void>) =>
    (names: string[], flags: Flags): Promise<void> =>
      withKubeClient(context, flags, (client) => work(new Nodes(context, client), names, flags));

  const list = command.command('list').alias('ls').description('List nodes, with what their machines have.');
  list.argument('[name...]', 'nodes; all when left out');
  list.addOption(new Option('-o, --output <format>', 'wide: more columns').choices(['wide']));
  list.option('--no-headers', 'without the line of headers');
  addKubeOptions(list);
  list.action(
    run<KubeFlags & { readonly output?: string; readonly headers: boolean }>((nodes, names, flags) =>
      nodes.list(names, flags.output === 'wide', flags.headers),
    ),
  );

  const describe = command.command('describe').description('Show everything about nodes, with their machines.');
  describe.argument('<name...>', 'nodes');
  addKubeOptions(describe);
  describe.action(run<KubeFlags>((nodes, names) => nodes.each(names, (node) => nodes.describe(node))));

  const cordon = command.command('cordon').description('Let no new machines come to nodes; those there stay.');
  cordon.argument('<name...>', 'nodes');
  addKubeOptions(cordon);
  cordon.action(run<KubeFlags>((nodes, names) => nodes.each(names, (node) => nodes.cordon(node, true))));

  const uncordon = command.command('uncordon').description('Let machines come to nodes again.');
  uncordon.argument('<name...>', 'nodes');
  uncordon.option('--start', 'have the machines run again that drain stopped');
  addKubeOptions(uncordon);
  uncordon.action(
    run<KubeFlags & { readonly start?: boolean }>((nodes, names, flags) =>
      nodes.each(names, (node) => nodes.uncordon(node, flags.start === true)),
    ),
  );

  const drain = command
    .command('drain')
    .description('Cordon nodes and take their machines off: move them, or shut them down.');
  drain.argument('<name...>', 'nodes');
  drain.option('--stop', 'shut machines down instead of moving them to other nodes');
  drain.addOption(
    new Option('--copy-storage <which>', 'disks that are copied: All takes those in pools of the node along').choices([
      ...['Auto', 'None', 'All', 'Incremental'],
    ]),
  );
  drain.option('--force', 'power machines off, without moving them or asking the guests');
  drain.option('--grace-period <seconds>', "what a guest has; each machine's own when left out", parseSeconds);
  drain.option('--dry-run', 'only say what would be done');
  addBooleanFlag(drain, 'wait', 'wait until all are off the node or off', true);
  drain.addOption(
    new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(300_000, '5m'),
  );
  addKubeOptions(drain);
  drain.action(
    run<DrainFlags>((nodes, names, flags) => {
      if (flags.copyStorage !== undefined && (flags.stop === true || flags.force === true)) {
        throw new UsageError('--copy-storage: nothing is moved with --stop or --force');
      }
      return nodes.each(names, (node) => nodes.drain(node, flags));
    }),
  );

  addExamples(command, [
    ['What there is', 'virtctl node list -o wide'],
    ['Before work on a node', 'virtctl node drain node-1'],
    ['With the disks in its own pools', 'virtctl node drain node-1 --copy-storage All --timeout 1h'],
    ['Move nothing', 'virtctl node drain node-1 --stop'],
    ['And after it', 'virtctl node uncordon node-1 --start'],
  ]);
}

/** What a drain would do, in words. */
const words = { migrate: 'migrated', 'migrate or stop': 'migrated', stop: 'stopped' } as const;

class Nodes {
  readonly #context: Context;
  readonly #client: KubeClient;
  readonly #hypervisors: ResourceClient<Hypervisor>;

  constructor(context: Context, client: KubeClient) {
    this.#context = context;
    this.#client = client;
    this.#hypervisors = client.resource<Hypervisor>(resourceTypeOf(hypervisorKind));
  }

  /** Runs `work` for each node; a failure of one does not stop the others. */
  async each(names: readonly string[], work: (node: Hypervisor) => Promise<void>): Promise<void> {
    const failures: unknown[] = [];
    for (const name of new Set(names.map(nodeName))) {
      try {
        await work(await this.#hypervisors.get({ name }, { signal: this.#context.signal }));
      } catch (error) {
        this.#context.signal.throwIfAborted();
        this.#report(failures, error);
      }
    }
    if (failures.length > 0) throw new ReportedFailure(exitCodeOf(failures));
  }

  async list(names: readonly string[], wide: boolean, headers: boolean): Promise<void> {
    const { signal } = this.#context;
    const wanted = new Set(names.map(nodeName));
    const failures: unknown[] = [];
    const nodes =
      wanted.size === 0
        ? [...(await this.#hypervisors.listAll({ signal })).items]
        : (
            await Promise.all(
              [...wanted].map((name) =>
                this.#hypervisors.get({ name }, { signal }).catch((error: unknown) => {
                  signal.throwIfAborted();
                  this.#report(failures, error);
                  return undefined;
                }),
              ),
            )
          ).filter((node) => node !== undefined);
    if (nodes.length > 0) {
      const renewed = await this.#renewed();
      const lines = nodeLines(nodes, { wide, headers, renewed, nowMs: this.#context.now() });
      await writeResult(this.#context, alignColumns(lines).text);
    } else if (failures.length === 0) this.#context.stderr.write('No nodes: run `virtctl executor` on each.\n');
    if (failures.length > 0) throw new ReportedFailure(exitCodeOf(failures));
  }

  async describe(node: Hypervisor): Promise<void> {
    const { signal, now } = this.#context;
    const [{ describeObject }, { eventsOf }] = await Promise.all([
      import('../cli/resources/describe-object.ts'),
      import('../cli/resources/object-events.ts'),
    ]);
    const { name = '', uid } = node.metadata;
    // Events of cluster-wide objects are where Kubernetes 1.20 takes them.
    const about = { kind: node.kind, name, namespace: 'kube-system', uid };
    const events = await eventsOf(this.#client, about, { limit: 20, signal });
    const machines = await machinesOn(this.#client, name, signal);
    const rows = machines.map(({ metadata, status }) => [
      `  ${metadata.namespace ?? ''}`,
      metadata.name ?? '',
      status?.printableStatus ?? '',
    ]);
    const header = ['  NAMESPACE', 'NAME', 'STATUS'];
    const table = machines.length === 0 ? '  <none>\n' : alignColumns([header, ...rows]).text;
    const notes = untoleratedNotes(node, machines);
    await writeResult(this.#context, `${describeObject(node, events, now())}Machines:\n${table}${notes}`);
  }

  async cordon(node: Hypervisor, unschedulable: boolean): Promise<void> {
    const { signal, stdout } = this.#context;
    const name = node.metadata.name ?? '';
    const word = unschedulable ? 'cordoned' : 'uncordoned';
    const isSo = (node.spec.unschedulable === true) === unschedulable;
    if (!isSo) {
      const spec = { unschedulable: unschedulable ? true : null };
      await this.#hypervisors.mergePatch({ name }, { spec }, { signal });
    }
    stdout.write(`hypervisor.virtctl.dev/${name} ${isSo ? `already ${word}` : word}\n`);
  }

  async uncordon(node: Hypervisor, start: boolean): Promise<void> {
    await this.cordon(node, false);
    const { signal, stdout, stderr } = this.#context;
    const name = node.metadata.name ?? '';
    const stopped = (await machinesOn(this.#client, name, signal)).filter(
      ({ metadata }) => metadata.annotations?.[drainedAnnotation] !== undefined,
    );
    if (stopped.length === 0) return;
    if (!start) {
      const count = stopped.length === 1 ? '1 machine stays' : `${stopped.length} machines stay`;
      stderr.write(`${count} off that drain stopped: virtctl node uncordon ${name} --start has them run again\n`);
      return;
    }
    await this.#eachMachine(stopped, async (machine) => {
      if (await startAfterDrain(this.#client, machine, signal)) stdout.write(`${printed(machine)} started\n`);
    });
  }

  async drain(node: Hypervisor, flags: DrainFlags): Promise<void> {
    const { signal, stdout, stderr } = this.#context;
    const name = node.metadata.name ?? '';
    const dry = flags.dryRun === true;
    if (dry) stdout.write(`hypervisor.virtctl.dev/${name} cordoned (dry run)\n`);
    else await this.cordon(node, true);
    if (findCondition(node.status, hypervisorConditions.Ready)?.status !== 'True') {
      stderr.write(`node ${name} is ${nodeStatus(node)}: its machines stop when its executor answers\n`);
    }
    const isReady = findCondition(node.status, hypervisorConditions.Ready)?.status === 'True';
    const { items } = await this.#hypervisors.listAll({ signal });
    const canMove = isReady && hasOtherNode(items, name);
    const drainOne = async (machine: VirtualMachine): Promise<void> => {
      const plan = flags.stop === true || flags.force === true ? 'stop' : drainPlan(machine, canMove);
      if (plan === 'refuse') {
        throw new FailedError('spec.evictionStrategy is None: it stays', {
          hint: 'migrate or stop it by hand, or drain with --stop',
        });
      }
      const done = dry ? `${words[plan]} (dry run)` : await this.#evict(machine, plan, flags);
      stdout.write(`${printed(machine)} ${done}\n`);
    };
    const seen = new Set<string | undefined>();
    for (;;) {
      // A machine that was being placed when the node was cordoned comes to be here all the same, and goes as well.
      const machines = (await machinesOn(this.#client, name, signal)).filter(({ metadata }) => !seen.has(metadata.uid));
      if (machines.length === 0) {
        if (dry || !(await this.#awaitComing(name, flags))) break;
        continue;
      }
      for (const { metadata } of machines) seen.add(metadata.uid);
      await this.#eachMachine(machines, drainOne);
      if (dry) break;
    }
    if (!dry && flags.wait) stdout.write(`hypervisor.virtctl.dev/${name} drained\n`);
  }

  /**
   * Waits for the machines that were on their way to the node when it was cordoned.
   *
   * @returns Whether there were any, and so may be more on the node.
   */
  async #awaitComing(name: string, flags: DrainFlags): Promise<boolean> {
    const { signal, stderr } = this.#context;
    const coming = await migrationsTo(this.#client, name, signal);
    for (const operation of coming) {
      const machine = `vm/${operation.spec.virtualMachine} in ${operation.metadata.namespace ?? ''}`;
      stderr.write(`${machine} is on its way here${flags.wait ? '' : ': drain again once it has come'}\n`);
      if (flags.wait) await untilOver(this.#client, operation, { signal, timeoutMs: flags.timeout });
    }
    return flags.wait && coming.length > 0;
  }

  async #evict(machine: VirtualMachine, plan: Exclude<DrainPlan, 'refuse'>, flags: DrainFlags): Promise<string> {
    const { signal, stderr } = this.#context;
    const wait = { wait: flags.wait, timeoutMs: flags.timeout };
    let stopping = machine;
    if (plan !== 'stop') {
      try {
        return await migrateForDrain(this.#context, this.#client, machine, { ...wait, copyStorage: flags.copyStorage });
      } catch (error) {
        signal.throwIfAborted();
        if (plan === 'migrate' || error instanceof TimedOutError) throw error;
        const machines = this.#client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
        const now = await machines.find(refOf(machine), { signal });
        if (now === undefined || now.metadata.uid !== machine.metadata.uid) return 'gone';
        // Whoever moved it: here it is not any more, and there it may run.
        if (now.spec.nodeName !== machine.spec.nodeName) return `moved to ${now.spec.nodeName ?? ''}`;
        stopping = now;
        stderr.write(`${label(machine)} cannot be migrated and is shut down: ${toError(error).message}\n`);
      }
    }
    const how = { force: flags.force === true, gracePeriodSeconds: flags.gracePeriod };
    return stopForDrain(this.#context, this.#client, stopping, { ...how, ...wait });
  }

  async #eachMachine(
    machines: readonly VirtualMachine[],
    work: (machine: VirtualMachine) => Promise<void>,
  ): Promise<void> {
    const failures: unknown[] = [];
    const rest = [...machines];
    const worker = async (): Promise<void> => {
      for (let machine = rest.shift(); machine !== undefined; machine = rest.shift()) {
        try {
          await work(machine);
        } catch (error) {
          this.#context.signal.throwIfAborted();
          failures.push(error);
          const { text } = reportError(error, false);
          this.#context.stderr.write(text.replace(/^error: /, `error: ${label(machine)}: `));
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(16, machines.length) }, worker));
    if (failures.length > 0) throw new ReportedFailure(exitCodeOf(failures));
  }

  async #renewed(): Promise<Map<string, number>> {
    const leases = this.#client.resource<Lease>(builtin.leases);
    const { items } = await leases.listAll({ namespace: leaseNamespace, signal: this.#context.signal });
    return new Map(items.map(({ metadata, spec }) => [metadata.name ?? '', Date.parse(spec?.renewTime ?? '')]));
  }

  #report(failures: unknown[], error: unknown): void {
    failures.push(error);
    if (!(error instanceof ReportedFailure)) this.#context.stderr.write(reportError(error, false).text);
  }
}

/** `hv/a` and `a` are the same node. */
function nodeName(word: string): string {
  const [kind, name] = word.includes('/') ? word.split('/', 2) : ['node', word];
  if (!['node', 'hv', 'hypervisor', 'hypervisors'].includes(kind ?? '') || name === undefined || name === '') {
    throw new UsageError(`${word}: this is for nodes only`);
  }
  return name;
}

function printed({ metadata }: VirtualMachine): string {
  return `virtualmachine.virtctl.dev/${metadata.name ?? ''} in ${metadata.namespace ?? ''}`;
}
