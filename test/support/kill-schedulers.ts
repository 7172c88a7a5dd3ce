/**
 * Schedulers that are killed at random on a real API server while machines come and go, and what must hold all the time:
 * no node has more than it can give, no machine changes its node, and in the end nobody waits for whom there is room.
 * `npm run soak -- schedulers` kills a hundred times, the tests a tenth.
 */
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { startTestProcess, type TestProcess } from './child-process.ts';
import { resourceOf } from './executor-node.ts';
import { forgotten, overcommitted } from './placements.ts';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { isNotFound } from '../../src/kube/status-error.ts';
import type { Lease } from '../../src/reconcile/lease.ts';

const root = join(import.meta.dirname, '../..');
const namespace = 'default';
const sizesMib = [700, 1700, 3500];

/** What came of it; {@link killSchedulers} throws when something that must hold does not. */
export interface KillReport {
  readonly kills: number;
  readonly leadersKilled: number;
  readonly placed: number;
  readonly created: number;
}

/** Nodes and machines on an API server. */
export class PlacementCluster {
  readonly client: KubeClient;
  readonly kubeconfig: string;
  readonly #machines;
  readonly #nodes;
  readonly #homes = new Map<string, string>();
  #created = 0;

  private constructor(client: KubeClient, kubeconfig: string) {
    this.client = client;
    this.kubeconfig = kubeconfig;
    this.#machines = client.resource<VirtualMachine>(resourceOf('VirtualMachine'));
    this.#nodes = client.resource<Hypervisor>(resourceOf('Hypervisor'));
  }

  static async open(kubeconfig: string): Promise<PlacementCluster> {
    const connection = await selectConnection({ kubeconfig, env: {}, home: '/', cwd: '/' });
    return new PlacementCluster(new KubeClient(connection), kubeconfig);
  }

  get created(): number {
    return this.#created;
  }

  /** Makes nodes that are ready, of 4 GiB each. */
  async addNodes(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const made = await this.#nodes.create({
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'Hypervisor',
        metadata: { name, labels: { 'kubernetes.io/hostname': name } },
        spec: {},
      });
      const lastTransitionTime = '2026-01-01T00:00:00Z';
      const conditions = [{ type: 'Ready', status: 'True' as const, reason: 'Ready', lastTransitionTime }];
      await this.#nodes.updateStatus({ ...made, status: { allocatable: { cpu: '64', memory: '4Gi' }, conditions } });
    }
  }

  /** Creates machines that are not started: placing them is all that is asked. */
  async create(count: number, random: () => number): Promise<void> {
    const sizes = Array.from({ length: count }, () => sizesMib[Math.floor(random() * sizesMib.length)] ?? 700);
    await Promise.all(
      sizes.map((mib) => {
        this.#created += 1;
        return this.#machines.create({
          apiVersion: 'virtctl.dev/v1alpha1',
          kind: 'VirtualMachine',
          metadata: { name: `m${this.#created}`, namespace },
          spec: { runStrategy: 'Halted', domain: { type: 'qemu', memory: { unit: 'MiB', value: mib } } },
        });
      }),
    );
  }

  /** Deletes about a share of the machines. */
  async deleteSome(share: number, random: () => number): Promise<void> {
    const { items } = await this.#machines.listAll({ namespace });
    const chosen = items.filter(() => random() < share);
    await Promise.all(
      chosen.map(async ({ metadata }) => {
        try {
          await this.#machines.delete({ namespace, name: metadata.name ?? '' });
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
      }),
    );
  }

  /**
   * Looks whether everything holds that must hold at every moment.
   *
   * @returns Machines that wait although there is room: right now that is no mistake.
   */
  async check(): Promise<{ readonly forgotten: readonly string[]; readonly placed: number }> {
    const [{ items: nodes }, { items: machines }] = [
      await this.#nodes.listAll({}),
      await this.#machines.listAll({ namespace }),
    ];
    const over = overcommitted(machines, nodes);
    if (over.length > 0) throw new Error(`nodes have more than there is: ${over.join('; ')}`);
    for (const { metadata, spec } of machines) {
      const [uid = '', on = ''] = [metadata.uid, spec.nodeName];
      const home = this.#homes.get(uid) ?? '';
      if (home !== '' && home !== on) throw new Error(`${metadata.name ?? ''} went from ${home} to ${on}`);
      this.#homes.set(uid, on);
    }
    const placed = machines.filter(({ spec }) => (spec.nodeName ?? '') !== '').length;
    return { forgotten: forgotten(machines, nodes), placed };
  }

  /** Waits until nobody waits for whom there is room. */
  async untilSettled(timeoutMs = 120_000): Promise<number> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const { forgotten: left, placed } = await this.check();
      if (left.length === 0) return placed;
      if (Date.now() > end) throw new Error(`still wait although there is room: ${left.join(', ')}`);
      await delay(100);
    }
  }

  /** Waits until a machine was placed, or there is room for none. */
  async untilProgress(placedBefore: number, timeoutMs = 120_000): Promise<void> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const { forgotten: left, placed } = await this.check();
      if (placed > placedBefore || left.length === 0) return;
      if (Date.now() > end) throw new Error(`nothing was placed, although there is room for ${left.join(', ')}`);
      await delay(20);
    }
  }

  /** The process id of the scheduler that leads; undefined while none does. */
  async leader(): Promise<number | undefined> {
    const ref = { namespace: 'virtctl-system', name: 'virtctl-scheduler' };
    const lease = await this.client.resource<Lease>(builtin.leases).find(ref);
    const pid = Number(/_(\d+)_[0-9a-f]+$/.exec(lease?.spec?.holderIdentity ?? '')?.[1]);
    return Number.isNaN(pid) ? undefined : pid;
  }

  close(): void {
    this.client.close();
  }
}

/** A `virtctl scheduler` as a process. */
function startScheduler(program: readonly string[], kubeconfig: string): Promise<TestProcess> {
  const args = [...program, 'scheduler', '--kubeconfig', kubeconfig, '--lease-duration', '2s'];
  return startTestProcess(process.execPath, args, { cwd: root });
}

/**
 * Kills schedulers of an API server that has our kinds.
 *
 * @param program How `virtctl` is called: its script, after the interpreter's own arguments.
 */
export async function killSchedulers(
  kubeconfig: string,
  kills: number,
  random: () => number,
  log: (line: string) => void,
  program: readonly string[] = ['--import', 'tsx', join(root, 'bin/virtctl.ts')],
): Promise<KillReport> {
  const cluster = await PlacementCluster.open(kubeconfig);
  let children: TestProcess[] = [];
  try {
    await cluster.addNodes(['n1', 'n2', 'n3', 'n4', 'n5']);
    for (let number = 0; number < 2; number += 1) children.push(await startScheduler(program, kubeconfig));
    let leadersKilled = 0;
    for (let kill = 1; kill <= kills; kill += 1) {
      // One leads before anything happens: else only beginners would be killed.
      await untilLed(cluster, children);
      const before = await cluster.check();
      await cluster.create(6 + Math.floor(random() * 6), random);
      // Most die in the middle of their work, the others on the way to it.
      if (random() < 0.8) await cluster.untilProgress(before.placed);
      await delay(random() * 200);
      await cluster.deleteSome(0.3, random);
      await delay(random() * 200);
      const leader = await cluster.leader();
      const victim = children.find(({ pid }) => pid === leader && random() < 0.8) ?? children[kill % children.length];
      if (victim?.pid === leader) leadersKilled += 1;
      await victim?.end('SIGKILL');
      const { placed } = await cluster.check();
      log(`kill ${kill}: ${victim?.pid === leader ? 'the leader' : 'another one'}; ${placed} machines have a node`);
      children = [...children.filter((one) => one !== victim), await startScheduler(program, kubeconfig)];
    }
    const placed = await cluster.untilSettled();
    return { kills, leadersKilled, placed, created: cluster.created };
  } finally {
    await Promise.all(children.map((one) => one.end('SIGKILL')));
    cluster.close();
  }
}

async function untilLed(cluster: PlacementCluster, children: readonly TestProcess[]): Promise<void> {
  const end = Date.now() + 120_000;
  for (;;) {
    const leader = await cluster.leader();
    if (children.some(({ pid }) => pid === leader)) return;
    if (Date.now() > end) throw new Error('no scheduler came to lead');
    await delay(50);
  }
}
