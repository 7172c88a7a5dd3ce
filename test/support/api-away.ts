/**
 * The API server goes away and comes back: what guests do meanwhile is theirs, and what was missed is caught up with
 * after. `npm run soak -- api-away` keeps it away for a minute, the tests for a few seconds.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { startExecutorNode, type ExecutorNode } from './executor-node.ts';
import { bootsOf, guestMachine, untilBoots } from './guest-machine.ts';
import { testGuest, type Guest } from './guest.ts';
import { installKinds } from './install-kinds.ts';
import type { KubeApiserver } from './kube-apiserver.ts';
import { startKubeApiserver } from './kube-apiserver.ts';

/** How long each thing that is waited for may take, in milliseconds. */
const patienceMs = 240_000;

/** What was seen; {@link apiAway} throws when something that must hold does not. */
export interface AwayResult {
  readonly awayMs: number;
  /** From the server's return until the last machine was as it is wanted. */
  readonly caughtUpMs: number;
  /** How often each guest booted. */
  readonly boots: Readonly<Record<string, number>>;
}

/**
 * Takes the server away from a node with three machines: one runs, one is changed by somebody else meanwhile, one ends
 * meanwhile.
 *
 * @param awayMs How long it is away.
 * @param prefix Goes before the machines' names, which no other may have had.
 */
export async function apiAway(
  api: KubeApiserver,
  node: ExecutorNode,
  guest: Guest,
  awayMs: number,
  prefix: string,
): Promise<AwayResult> {
  const [steady, meddled, ending] = ['steady', 'meddled', 'ending'].map((name) => `${prefix}${name}`) as [
    string,
    string,
    string,
  ];
  const names = [steady, meddled, ending];
  for (const name of names) {
    const spec = guestMachine(node, guest, name, { agent: false, domain: { title: 'as it should be' } });
    await node.create(name, spec);
  }
  for (const name of names) {
    await untilBoots(node, name, 1, patienceMs);
    await node.untilStatus(name, 'Running', patienceMs);
  }
  const { pid } = node;
  await api.kill();
  const wentAt = performance.now();
  await node.libvirtd.virsh('desc', `default.${meddled}`, '--config', '--title', 'meddled with');
  await node.libvirtd.virsh('destroy', `default.${ending}`);
  await delay(Math.max(0, awayMs - (performance.now() - wentAt)));
  for (const name of [steady, meddled]) {
    const state = await node.libvirtd.virsh('domstate', `default.${name}`);
    if (state !== 'running') throw new Error(`${name} is ${state} while the API server is away`);
  }
  const alive = await fetch(`${node.metricsUrl}/healthz`);
  if (!alive.ok || node.pid !== pid) throw new Error('the executor did not outlive the API server');
  await api.restart();
  const backAt = performance.now();
  await node.patch(steady, { domain: { title: 'changed after' } });
  await untilTitle(node, steady, 'changed after');
  await untilTitle(node, meddled, 'as it should be');
  await untilBoots(node, ending, 2, patienceMs);
  await node.untilStatus(ending, 'Running', patienceMs);
  const caughtUpMs = Math.round(performance.now() - backAt);
  const boots: Record<string, number> = {};
  for (const name of names) boots[name] = await bootsOf(node, name);
  for (const [name, expected] of [
    [steady, 1],
    [meddled, 1],
    [ending, 2],
  ] as const) {
    if (boots[name] !== expected) throw new Error(`${name} booted ${String(boots[name])} times, not ${expected}`);
  }
  await Promise.all(names.map((name) => node.delete(name)));
  return { awayMs, caughtUpMs, boots };
}

async function untilTitle(node: ExecutorNode, name: string, title: string): Promise<void> {
  const end = Date.now() + patienceMs;
  for (;;) {
    const now = await node.libvirtd.virsh('desc', `default.${name}`, '--config', '--title');
    if (now === title) return;
    if (Date.now() > end) throw new Error(`the title of ${name} is "${now}", not "${title}"`);
    await delay(100);
  }
}

/** The whole of it, on a node and a real kube-apiserver of its own. */
export async function awayRun(awayMs: number, log: (line: string) => void): Promise<AwayResult> {
  const guest = await testGuest();
  const api = await startKubeApiserver();
  try {
    await installKinds(api);
    const node = await startExecutorNode({ kubeconfig: api.kubeconfigPath });
    try {
      log(`the API server goes away for ${awayMs / 1000} s`);
      return await apiAway(api, node, guest, awayMs, '');
    } finally {
      await node.close();
    }
  } finally {
    await api.stop();
  }
}
