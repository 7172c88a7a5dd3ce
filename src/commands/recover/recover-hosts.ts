/**
 * Makes what hosts know of lost objects again: first their networks, then machine by machine what each needs, its
 * snapshots, and itself. Hosts that are given together are seen together: a pool that several have is one VirtualPool, and
 * of a machine of which two have a domain the one that runs counts.
 */
import { chooseDomain, isCopy, type MarkedDomain } from './choose-domain.ts';
import type { OpenedHosts, Host } from './open-hosts.ts';
import { claimEmptyDisks } from './claim-empty-disks.ts';
import { claimSnapshots, makeSnapshots } from './make-snapshots.ts';
import { Namespaces } from './namespaces.ts';
import { NodesWithPool } from './nodes-with-pool.ts';
import { settleMachine } from './settle-machine.ts';
import { readKnownObjects } from '../adopt/known-host.ts';
import { ObjectMaker, type MakeOptions } from '../adopt/make-objects.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { Context } from '../../cli/context.ts';
import { dryRunNote, forEachReported, reportEach } from '../../cli/resources/resource-options.ts';
import type { AdoptionContext } from '../../executor/adoption/host-objects.ts';
import { hasUuid, type KnownObjects, type NewObject } from '../../executor/adoption/known-objects.ts';
import { recoverMachine } from '../../executor/adoption/recover-machine.ts';
import { recoverNetworks } from '../../executor/adoption/recover-networks.ts';
import { recoverSnapshots } from '../../executor/adoption/recover-snapshots.ts';
import { awaitedStrategy, unsettled } from '../../executor/adoption/settled-machine.ts';
import type { MachineMark } from '../../executor/virtual-machine/domain-metadata.ts';
import { readDomain } from '../../executor/virtual-machine/domain-view.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';

interface Recovery {
  readonly context: Context;
  readonly client: KubeClient;
  readonly known: KnownObjects;
  readonly maker: ObjectMaker;
  readonly namespaces: Namespaces;
  readonly options: Omit<MakeOptions, 'done'>;
  /** What nobody keeps but users, with who needs it. */
  readonly missing: Map<string, string[]>;
  /** How the objects of each host are made. */
  readonly adoptions: ReadonlyMap<Host, AdoptionContext>;
  readonly makeAll: () => Promise<KubeObject | undefined>;
}

/** See the head of this file. */
export async function recoverHosts(
  context: Context,
  client: KubeClient,
  { hosts, failures }: OpenedHosts,
  options: Omit<MakeOptions, 'done'>,
): Promise<void> {
  const { signal, stderr } = context;
  const known = await readKnownObjects(client, signal);
  const maker = new ObjectMaker(context, client, { ...options, done: 'recovered' });
  const namespaces = new Namespaces(client, options.dryRun, signal, (one) => maker.tell(one, 'created'));
  const objects: NewObject[] = [];
  const add = (object: NewObject): void => {
    known.add(object);
    objects.push(object);
  };
  const makeAll = async (): Promise<KubeObject | undefined> => {
    let last: KubeObject | undefined;
    for (let [object] = objects; object !== undefined; [object] = objects) {
      await namespaces.ensure(object.metadata.namespace);
      last = await maker.make(object);
      objects.shift();
    }
    return last;
  };
  // What a machine that fails would have needed must not be made with the next one, nor be taken for something there is.
  const forget = (error: unknown): never => {
    for (const object of objects.splice(0)) known.remove(object);
    throw error;
  };
  // Those that went away meanwhile are taken out.
  const reached = [...hosts];
  const pools = new NodesWithPool(reached, signal);
  const nodesWith = pools.nodesWith.bind(pools);
  const adoptions = new Map(
    hosts.map((host) => [host, { node: host.node, inventory: host.inventory, known, add, nodesWith }] as const),
  );
  const missing = new Map<string, string[]>();
  const recovery = { context, client, known, maker, namespaces, options, missing, adoptions, makeAll };
  let count = 0;
  try {
    const marked = new Map<string, MarkedDomain[]>();
    const gone = await reportEach(context, adoptions, async ([host, adoption]) => {
      try {
        await recoverNetworks(adoption, host.libvirt, signal);
        await makeAll();
        for (const [key, domains] of await readMarked(host, signal)) {
          marked.set(key, [...(marked.get(key) ?? []), ...domains]);
        }
      } catch (error) {
        if (!signal.aborted) stderr.write(`node ${host.node.name} is left out:\n`);
        reached.splice(reached.indexOf(host), 1);
        forget(error);
      }
    });
    await forEachReported(
      context,
      marked.values(),
      async (domains) => {
        if (await recoverOne(recovery, domains).catch(forget)) count += 1;
      },
      [...failures, ...gone],
    );
  } finally {
    await maker.finish();
    if (missing.size > 0) stderr.write(`To be made again, since no host keeps them:\n${listOf(missing)}`);
  }
  if (count > 0 || hosts.length === 0) return;
  const names = hosts.map(({ node }) => node.name).join(', ');
  stderr.write(
    `Nothing to recover: every marked domain of node${hosts.length === 1 ? '' : 's'} ${names} has its machine.\n`,
  );
}

/** A host's domains of each machine, as `namespace/name`. */
async function readMarked(host: Host, signal: AbortSignal): Promise<Map<string, MarkedDomain[]>> {
  const found = new Map<string, MarkedDomain[]>();
  for (const domain of await host.libvirt.domains.list({ signal })) {
    const view = await readDomain(domain, { signal });
    const mark = view?.mark;
    if (view === undefined || mark === undefined) continue;
    const key = `${mark.namespace}/${mark.name}`;
    found.set(key, [...(found.get(key) ?? []), { host, view, mark }]);
  }
  return found;
}

/** @returns Whether there was something to recover. */
async function recoverOne(recovery: Recovery, domains: readonly MarkedDomain[]): Promise<boolean> {
  const { context, client, known, maker, namespaces, options, adoptions, makeAll } = recovery;
  const { signal, stderr } = context;
  const chosen = chooseDomain(domains);
  const { host, view, mark } = chosen;
  const ofMachine = `vm/${mark.name} in ${mark.namespace}`;
  const tell = (domain: MarkedDomain, where: string): void =>
    void stderr.write(
      `domain ${domain.view.domain.name} is marked as ${ofMachine}, which is on ${where}: left alone\n`,
    );
  const other = known.machine(mark.namespace, mark.name);
  if (other !== undefined) {
    const where = other.spec.nodeName ?? '';
    let isWaiting = false;
    for (const domain of domains) {
      if (where !== domain.host.node.name) tell(domain, where === '' ? 'no node' : where);
      else if (!isOwn(other, domain)) {
        const whose = `was made for an earlier ${ofMachine}, whose object went without it: left alone`;
        const remedy = `to have it back: virtctl delete vm ${mark.name} -n ${mark.namespace}, and run this again`;
        stderr.write(`domain ${domain.view.domain.name} ${whose}; ${remedy}\n`);
        isWaiting = true;
      }
    }
    return (await claimLeft(recovery, other, domains)) || isWaiting;
  }
  for (const domain of domains) {
    if (domain === chosen) continue;
    if (isCopy(domain))
      stderr.write(`domain ${domain.view.domain.name} is a copy of that of ${ofMachine}: left alone\n`);
    else tell(domain, host.node.name);
  }
  const adoption = adoptions.get(host);
  if (adoption === undefined) return false;
  const { machine, isSettled, notes, missing, volumes } = await recoverMachine(adoption, view, mark);
  // One that is only shown is shown as it will be in the end.
  adoption.add(isSettled || options.dryRun !== 'none' ? machine : unsettled(machine));
  const call = { signal, timeoutMs: 30_000 };
  const home = { machine: mark, volumes, nodeName: host.node.name, inventory: host.inventory };
  const kept = await recoverSnapshots(known, home, view, call);
  await namespaces.ensure(mark.namespace);
  const snapshots = await makeSnapshots(client, maker, kept.snapshots, options.dryRun, signal);
  const stored = await makeAll();
  for (const note of [...notes, ...kept.notes]) stderr.write(`vm/${mark.name} in ${mark.namespace}: ${note}\n`);
  noteMissing(recovery.missing, mark, missing);
  if (options.dryRun !== 'none' || stored === undefined) return true;
  await claimSnapshots(client, snapshots, stored, signal);
  await claimEmptyDisks(client, known.unclaimedEmptyDisks(machine), stored, signal);
  maker.amend(await settleMachine(client, stored as VirtualMachine, view, signal));
  return true;
}

/**
 * Ends what was interrupted after a machine was made: its snapshots and empty disks become its own, and it has its run
 * strategy.
 *
 * @returns Whether there were any.
 */
async function claimLeft(
  { context: { signal, stderr }, client, known, options: { dryRun } }: Recovery,
  machine: VirtualMachine,
  domains: readonly MarkedDomain[],
): Promise<boolean> {
  const own = domains.find(({ view }) => hasUuid(machine, view.domain.uuid));
  if (own === undefined) return false;
  const snapshots = known.unclaimedSnapshots(machine);
  const disks = known.unclaimedEmptyDisks(machine);
  const { namespace = '', name = '' } = machine.metadata;
  const runStrategy = awaitedStrategy(machine);
  const tell = (what: string, left: readonly (string | undefined)[]): void => {
    if (left.length > 0)
      stderr.write(`vm/${name} in ${namespace}: has its ${what} ${left.join(', ')} now${dryRunNote(dryRun)}\n`);
  };
  if (dryRun === 'none') {
    await claimSnapshots(client, snapshots, machine, signal);
    await claimEmptyDisks(client, disks, machine, signal);
    await settleMachine(client, machine, own.view, signal);
  }
  tell('snapshots', snapshots.map(nameOf));
  tell('empty disks', disks.map(nameOf));
  tell('run strategy', runStrategy === undefined ? [] : [runStrategy]);
  return snapshots.length + disks.length > 0 || runStrategy !== undefined;
}

function nameOf({ metadata }: KubeObject): string | undefined {
  return metadata.name;
}

/** Whether a domain is the machine's: one that was made anew under the name of the mark has another UUID. */
function isOwn(machine: VirtualMachine, { view, mark }: MarkedDomain): boolean {
  return mark.uid === machine.metadata.uid || hasUuid(machine, view.domain.uuid);
}

function noteMissing(all: Map<string, string[]>, { namespace, name }: MachineMark, missing: readonly string[]): void {
  for (const one of missing) {
    const [kind = '', object = ''] = one.split(' ');
    const key = `${kind} ${namespace}/${object}`;
    all.set(key, [...(all.get(key) ?? []), `vm/${name}`]);
  }
}

function listOf(missing: ReadonlyMap<string, readonly string[]>): string {
  const lines = [...missing].map(([object, users]) => `  ${object} (${[...new Set(users)].join(', ')})\n`);
  return lines.sort().join('');
}
