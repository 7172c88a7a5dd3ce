import { hostname } from 'node:os';
import { Option, type Command } from 'commander';
import { assertSameHost, hostUuid, readKnownObjects, readNodes } from './adopt/known-host.ts';
import { ObjectMaker } from './adopt/make-objects.ts';
import { virtualMachineKind } from '../api/kinds.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { withKubeClient } from '../cli/kube-options.ts';
import { addLocalOptions, localUri, type LocalFlags } from '../cli/local-domain.ts';
import { resourceTypeOf } from '../cli/machine-verb.ts';
import { addDryRunOption, forEachReported, type DryRun } from '../cli/resources/resource-options.ts';
import type { AdoptionContext } from '../executor/adoption/host-objects.ts';
import { HostInventory } from '../executor/adoption/host-inventory.ts';
import { recoverNetworks } from '../executor/adoption/recover-networks.ts';
import { recoverMachine } from '../executor/adoption/recover-machine.ts';
import type { AdoptingNode, KnownObjects, NewObject } from '../executor/adoption/known-objects.ts';
import { readDomain } from '../executor/virtual-machine/domain-view.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { refOf, type KubeObject } from '../kube/object.ts';
import { builtin } from '../kube/resource-type.ts';
import { isAlreadyExists } from '../kube/status-error.ts';
import { openLibvirt, type Libvirt } from '../libvirt/libvirt.ts';
import type { Domain } from '../libvirt/objects/domain.ts';

interface RecoverFlags extends LocalFlags {
  readonly node?: string;
  readonly dryRun: DryRun;
  readonly output?: 'yaml' | 'json' | 'name';
}

/** `virtctl recover`: makes the objects of a lost control plane again, from the marks in a host's domains. */
export function configure(command: Command, context: Context): void {
  command
    .option('--node <name>', "the node's name; that of its Hypervisor, else this host's, when left out")
    .addOption(new Option('-o, --output <format>', 'how to print what is made').choices(['yaml', 'json', 'name']));
  addDryRunOption(command);
  addLocalOptions(command);
  addExamples(command, [
    ['What would be made, on a node', 'virtctl recover --dry-run'],
    ["Another node's, over TLS", 'virtctl recover --node node-2 --connect qemu+tls://node-2/system'],
  ]);
  command.action(async (flags: RecoverFlags) => {
    await withKubeClient(context, flags, async (client) => {
      const uri = localUri(context, flags);
      const libvirt = await openLibvirt(uri, { signal: context.signal });
      try {
        const node = await nodeAt(context, client, libvirt, flags.node, uri);
        await recover(context, client, libvirt, node, flags);
      } finally {
        await libvirt.close();
      }
    });
  });
}

/** The node whose libvirt was reached. Its Hypervisor may be lost, too: its executor makes it again. */
async function nodeAt(
  context: Context,
  client: KubeClient,
  libvirt: Libvirt,
  given: string | undefined,
  uri: string,
): Promise<AdoptingNode> {
  const uuid = await hostUuid(libvirt, context.signal);
  const nodes = await readNodes(client, context.signal);
  const found =
    given === undefined
      ? nodes.find(({ status }) => status?.nodeInfo?.systemUUID?.toLowerCase() === uuid)
      : nodes.find(({ metadata }) => metadata.name === given);
  if (found !== undefined) assertSameHost(found, uuid, uri);
  const name = found?.metadata.name ?? given ?? hostname();
  return { name, labels: found?.metadata.labels ?? { 'kubernetes.io/hostname': name } };
}

async function recover(
  context: Context,
  client: KubeClient,
  libvirt: Libvirt,
  node: AdoptingNode,
  flags: RecoverFlags,
): Promise<void> {
  const { signal, stderr } = context;
  const known = await readKnownObjects(client, signal);
  const maker = new ObjectMaker(context, client, { ...flags, done: 'recovered' });
  const objects: NewObject[] = [];
  const adoption: AdoptionContext = {
    node,
    inventory: new HostInventory(libvirt, signal),
    known,
    add: (object) => {
      known.add(object);
      objects.push(object);
    },
  };
  const namespaces = new Namespaces(client, flags.dryRun, signal);
  const makeAll = async (): Promise<KubeObject | undefined> => {
    let last: KubeObject | undefined;
    for (const object of objects.splice(0)) {
      await namespaces.ensure(object.metadata.namespace);
      last = await maker.make(object);
    }
    return last;
  };
  let count = 0;
  try {
    await recoverNetworks(adoption, libvirt, signal);
    await makeAll();
    const domains = await libvirt.domains.list({ signal });
    await forEachReported(context, domains, async (domain) => {
      if (await recoverOne(context, client, adoption, domain, known, flags, makeAll)) count += 1;
    });
  } finally {
    await maker.finish();
  }
  if (count === 0) stderr.write(`Nothing to recover: every marked domain of node ${node.name} has its machine.\n`);
}

/** @returns Whether there was something to recover. */
async function recoverOne(
  context: Context,
  client: KubeClient,
  adoption: AdoptionContext,
  domain: Domain,
  known: KnownObjects,
  flags: RecoverFlags,
  makeAll: () => Promise<KubeObject | undefined>,
): Promise<boolean> {
  const { signal, stderr } = context;
  const view = await readDomain(domain, { signal });
  const mark = view?.mark;
  if (view === undefined || mark === undefined) return false;
  const other = known.machine(mark.namespace, mark.name);
  if (other !== undefined) {
    const where = other.spec.nodeName ?? '';
    if (where === adoption.node.name) return false;
    stderr.write(
      `domain ${domain.name} is marked as vm/${mark.name} in ${mark.namespace}, which is on ${where === '' ? 'no node' : where}: left alone\n`,
    );
    return false;
  }
  const { settled, notes } = await recoverMachine(adoption, view, mark);
  const stored = await makeAll();
  for (const note of notes) stderr.write(`vm/${mark.name} in ${mark.namespace}: ${note}\n`);
  if (settled === undefined || flags.dryRun !== 'none' || stored === undefined) return true;
  const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
  // In this order: it must not be started for a strategy whose run it had.
  await machines.mergePatch(refOf(stored), { status: settled.status }, { subresource: 'status', signal });
  await machines.mergePatch(refOf(stored), { spec: { runStrategy: settled.runStrategy } }, { signal });
  return true;
}

/** Makes namespaces that went with the control plane. */
class Namespaces {
  readonly #client: KubeClient;
  readonly #dryRun: DryRun;
  readonly #signal: AbortSignal;
  readonly #there = new Set<string>();

  constructor(client: KubeClient, dryRun: DryRun, signal: AbortSignal) {
    this.#client = client;
    this.#dryRun = dryRun;
    this.#signal = signal;
  }

  async ensure(name: string | undefined): Promise<void> {
    if (name === undefined || this.#there.has(name) || this.#dryRun === 'client') return;
    const namespaces = this.#client.resource<KubeObject>(builtin.namespaces);
    if ((await namespaces.find({ name }, { signal: this.#signal })) === undefined) {
      try {
        const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
        await namespaces.create(object, { signal: this.#signal, dryRun: this.#dryRun === 'server' });
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
    }
    this.#there.add(name);
  }
}
