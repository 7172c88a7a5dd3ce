import { Option, type Command } from 'commander';
import { assertSameHost, hostUuid, readKnownObjects } from './adopt/known-host.ts';
import { ObjectMaker } from './adopt/make-objects.ts';
import { refuseInvalid, refuseMissingNamespace } from './adopt/refusals.ts';
import { untilTakenOver } from './adopt/until-taken-over.ts';
import { analyse } from '../analyser/analyse.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { hypervisorKind } from '../api/kinds.ts';
import { runStrategies, type RunStrategy, type VirtualMachine } from '../api/virtual-machine.ts';
import { ConflictError, NotFoundError, UsageError } from '../base/errors.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { withKubeClient } from '../cli/kube-options.ts';
import { addLocalOptions, localUri, type LocalFlags } from '../cli/local-domain.ts';
import { resourceTypeOf } from '../cli/machine-verb.ts';
import { addDryRunOption, forEachReported, refuseTogether, type DryRun } from '../cli/resources/resource-options.ts';
import { adoptMachine } from '../executor/adoption/adopt-machine.ts';
import type { AdoptionContext } from '../executor/adoption/host-objects.ts';
import { HostInventory } from '../executor/adoption/host-inventory.ts';
import type { KnownObjects, NewObject } from '../executor/adoption/known-objects.ts';
import { liveDifferences } from '../executor/virtual-machine/apply-live.ts';
import { readDomain, type DomainView } from '../executor/virtual-machine/domain-view.ts';
import type { DataObject } from '../executor/virtual-machine/same-value.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { isNotFound as isObjectMissing } from '../kube/status-error.ts';
import { isNotFound } from '../libvirt/errors.ts';
import { openLibvirt, type Libvirt } from '../libvirt/libvirt.ts';
import type { Domain } from '../libvirt/objects/domain.ts';
import { maxReportedBytes } from '../xml/reader.ts';

interface AdoptFlags extends LocalFlags {
  readonly all?: boolean;
  readonly runStrategy?: RunStrategy;
  readonly dryRun: DryRun;
  readonly output?: 'yaml' | 'json' | 'name';
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout: number;
}

/** `virtctl adopt`: brings a host's domains under management as they are. */
export function configure(command: Command, context: Context): void {
  command
    .argument('<node>', 'the node that has them')
    .argument('[domain...]', "domains, by libvirt's name or UUID")
    .option('--all', 'every domain of the node that is not managed yet')
    .addOption(
      new Option('--run-strategy <strategy>', 'when they run; so that nothing starts or stops when left out').choices(
        runStrategies,
      ),
    )
    .addOption(new Option('-o, --output <format>', 'how to print what is made').choices(['yaml', 'json', 'name']))
    .addOption(
      new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(120_000, '2m'),
    );
  addBooleanFlag(command, 'wait', "wait until the node's executor has taken them over", true);
  addDryRunOption(command);
  addLocalOptions(command);
  addExamples(command, [
    ['See what would be made of every domain of this host', 'virtctl adopt node-1 --all --dry-run -o yaml'],
    ['Bring two of them under management', 'virtctl adopt node-1 web db -n shop'],
  ]);
  command.action(async (node: string, names: readonly string[], flags: AdoptFlags) => {
    refuseTogether([[names.length > 0, flags.all === true, 'give domains, or --all, not both']]);
    if (names.length === 0 && flags.all !== true) throw new UsageError('expected domains, or --all');
    await withKubeClient(context, flags, async (client) => {
      const hypervisor = await nodeOf(client, node, context.signal);
      const uri = localUri(context, flags);
      const libvirt = await openLibvirt(uri, { signal: context.signal });
      try {
        assertSameHost(hypervisor, await hostUuid(libvirt, context.signal), uri);
        await new Adopter(context, client, libvirt, hypervisor, flags).run(names);
      } finally {
        await libvirt.close();
      }
    });
  });
}

async function nodeOf(client: KubeClient, word: string, signal: AbortSignal): Promise<Hypervisor> {
  const name = word.replace(/^(hv|hypervisors?|node)\//, '');
  try {
    return await client.resource<Hypervisor>(resourceTypeOf(hypervisorKind)).get({ name }, { signal });
  } catch (error) {
    if (!isObjectMissing(error)) throw error;
    throw new NotFoundError(`there is no node "${name}"`, {
      cause: error,
      hint: `run \`virtctl executor --node-name ${name}\` there first`,
    });
  }
}

class Adopter {
  readonly #context: Context;
  readonly #client: KubeClient;
  readonly #libvirt: Libvirt;
  readonly #node: Hypervisor;
  readonly #flags: AdoptFlags;
  readonly #inventory: HostInventory;

  constructor(context: Context, client: KubeClient, libvirt: Libvirt, node: Hypervisor, flags: AdoptFlags) {
    this.#context = context;
    this.#client = client;
    this.#libvirt = libvirt;
    this.#node = node;
    this.#flags = flags;
    this.#inventory = new HostInventory(libvirt, context.signal);
  }

  async run(names: readonly string[]): Promise<void> {
    const { signal, stderr } = this.#context;
    if (this.#flags.dryRun !== 'client') await refuseMissingNamespace(this.#client, signal);
    const known = await readKnownObjects(this.#client, signal);
    const maker = new ObjectMaker(this.#context, this.#client, { ...this.#flags, done: 'adopted' });
    const made: VirtualMachine[] = [];
    const isAll = names.length === 0;
    const chosen: (string | Domain)[] = isAll ? await this.#libvirt.domains.list({ signal }) : [...names];
    if (isAll && chosen.length === 0) stderr.write('The node has no domains.\n');
    try {
      await forEachReported(this.#context, chosen, async (one) => {
        const domain = typeof one === 'string' ? await this.#find(one) : one;
        const machine = await this.#adopt(domain, isAll, known, maker);
        if (machine !== undefined) made.push(machine);
      });
    } finally {
      await maker.finish();
    }
    if (!this.#flags.wait || this.#flags.dryRun !== 'none') return;
    await forEachReported(this.#context, made, (machine) =>
      untilTakenOver(this.#client, machine, { signal: this.#context.signal, timeoutMs: this.#flags.timeout }),
    );
  }

  async #find(word: string): Promise<Domain> {
    const { signal } = this.#context;
    try {
      return await this.#libvirt.domains.byName(word, { signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(word)) {
        return this.#libvirt.domains.byUuid(word, { signal });
      }
      throw new NotFoundError(`node ${this.#node.metadata.name ?? ''} has no domain "${word}"`, { cause: error });
    }
  }

  /** @returns The machine; undefined where there was nothing to do. */
  async #adopt(
    domain: Domain,
    isAll: boolean,
    known: KnownObjects,
    maker: ObjectMaker,
  ): Promise<VirtualMachine | undefined> {
    const { signal, stderr } = this.#context;
    const node = this.#node.metadata.name ?? '';
    const view = await readDomain(domain, { signal });
    if (view === undefined) throw new NotFoundError(`domain ${domain.name} is gone`);
    const owner = known.machineOf(node, domain.name, domain.uuid);
    if (owner !== undefined) {
      const { namespace = '', name = '' } = owner.metadata;
      const machine = `vm/${name} in ${namespace}`;
      const where = owner.spec.nodeName ?? '';
      // What a migration left behind, or a copy: two machines with one UUID cannot be told apart.
      stderr.write(
        where === node
          ? `domain ${domain.name} is ${machine} already\n`
          : `domain ${domain.name} has the UUID of ${machine}, which is on ${where === '' ? 'no node' : where}: left alone\n`,
      );
      return undefined;
    }
    const refusal = await this.#refusal(view);
    if (refusal !== undefined && isAll) {
      stderr.write(`${refusal.message}: left alone${refusal.hint === undefined ? '' : `; ${refusal.hint}`}\n`);
      return undefined;
    }
    if (refusal !== undefined) throw refusal;
    const objects: NewObject[] = [];
    const context: AdoptionContext = {
      node: { name: node, labels: this.#node.metadata.labels ?? {} },
      inventory: this.#inventory,
      known,
      add: (object) => {
        known.add(object);
        objects.push(object);
      },
    };
    const { value, overlay } = analyse(await domain.xml({ inactive: true, signal }), { maxBytes: maxReportedBytes });
    const found = {
      value: value as DataObject,
      overlay,
      state: view.state,
      autostart: await domain.autostart({ signal }),
    };
    const { changes } = await adoptMachine(context, found, this.#client.namespace, this.#flags.runStrategy);
    if (changes.length > 0) {
      throw new ConflictError(`domain ${domain.name} cannot be adopted as it is: ${changes.join(', ')} would change`);
    }
    refuseInvalid(domain.name, objects);
    await this.#tellOthersPoints(domain);
    this.#tellPending(domain, view);
    let stored: VirtualMachine | undefined;
    for (const object of objects) stored = (await maker.make(object)) as VirtualMachine;
    return stored;
  }

  async #refusal({ domain, mark }: DomainView): Promise<ConflictError | undefined> {
    if (mark !== undefined) {
      return new ConflictError(`domain ${domain.name} was vm/${mark.name} in ${mark.namespace}, which is gone`, {
        hint: 'virtctl recover brings it back',
      });
    }
    if (await domain.isPersistent({ signal: this.#context.signal })) return undefined;
    return new ConflictError(`domain ${domain.name} is transient: it is gone as soon as it ends`, {
      hint: `define it first: virsh dumpxml ${domain.name} > f.xml && virsh define f.xml`,
    });
  }

  /** Snapshots and checkpoints that others made stay libvirt's, and go with the domain. */
  async #tellOthersPoints(domain: Domain): Promise<void> {
    const { signal, stderr } = this.#context;
    const kinds = { snapshots: domain.snapshots, checkpoints: domain.checkpoints };
    for (const [word, points] of Object.entries(kinds)) {
      // libvirt lists them in the order of a hash table with a seed of its own for each process.
      const names = (await points.list({ signal })).map(({ name }) => name).sort();
      if (names.length === 0) continue;
      stderr.write(`domain ${domain.name}: its ${word} stay virsh's alone: ${names.join(', ')}\n`);
    }
  }

  /** What the running domain has otherwise than its definition waits for the next start, as it did before. */
  #tellPending(domain: Domain, view: DomainView): void {
    const { inactive, boot } = view;
    if (boot !== undefined) return;
    // What libvirt filled in when it started the domain (ports, the processor's features) is its own doing.
    const paths = liveDifferences(inactive, view)
      .map(({ path }) => path)
      .filter((path) => /^(vcpu|memory|currentMemory|os|features)\b|^devices\.[^.]+\[\d+\]$/.test(path))
      .filter((path) => !/^os\.(firmware|loader|nvram)\b/.test(path));
    if (paths.length === 0) return;
    this.#context.stderr.write(
      `domain ${domain.name}: as its definition says from the next start: ${paths.join(', ')}\n`,
    );
  }
}
