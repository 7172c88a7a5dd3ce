/**
 * The executor killed with SIGKILL at random moments of a story, and what must hold afterwards: the machine is as it is
 * wanted, every operation is over and was done once, and the guest's boots are those that were asked for and no more.
 * `npm run soak -- executor-kill` runs it a hundred times, the tests a tenth; `libvirtd-kill` kills libvirtd with it. Migrations, which take two nodes, have a soak
 * of their own, `migration-faults`.
 */
import { bootsOf, guestMachine, untilBoots } from './guest-machine.ts';
import { startExecutorNode, type ExecutorNode } from './executor-node.ts';
import { testGuest, type Guest } from './guest.ts';
import { tellSnapshotStory, type SnapshotStory } from './kill-snapshots.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import type { OperationVerb, VirtualMachineOperationSpec } from '../../src/api/virtual-machine-operation.ts';

/** What is going on when the executor is killed. */
export const stories = [
  'create',
  'start',
  'restart',
  'stop',
  'reset',
  'pause',
  'unpause',
  'save',
  'soft-reboot',
  'inject-nmi',
  'send-key',
  'set-password',
  'snapshot',
  'revert',
  'delete',
] as const;

/** One of {@link stories}. */
export type Story = (typeof stories)[number];

/** Who is killed: the executor, or with it libvirtd, whose answers are lost then. */
export type Victims = 'executor' | 'executor and libvirtd';

/** What came of a story; throws when something that must hold does not. */
export interface StoryResult {
  readonly story: Story;
  readonly killedAfterMs: number;
  readonly boots: number;
}

interface Plot {
  readonly verb?: OperationVerb;
  readonly spec?: Partial<VirtualMachineOperationSpec>;
  /** Boots that the story adds. */
  readonly boots: number;
  /** The state afterwards. */
  readonly status: string;
  /** Done to a running machine before the story. */
  readonly before?: OperationVerb;
  /** Its guest answers through the agent. */
  readonly agent?: boolean;
  /** It can neither be repeated nor seen: when it was cut off, it has to say so. */
  readonly mayBeUnknown?: boolean;
}

/** The Secret with the password that `set-password` sets. */
const passwordSecret = 'password-of-victims';

const plots: Readonly<Record<Exclude<Story, 'create' | 'delete' | SnapshotStory>, Plot>> = {
  start: { verb: 'Start', before: 'Stop', boots: 1, status: 'Running' },
  restart: { verb: 'Restart', spec: { restart: { force: true } }, boots: 1, status: 'Running' },
  stop: { verb: 'Stop', spec: { stop: { force: true } }, boots: 0, status: 'Stopped' },
  reset: { verb: 'Reset', boots: 1, status: 'Running' },
  pause: { verb: 'Pause', boots: 0, status: 'Paused' },
  unpause: { verb: 'Unpause', before: 'Pause', boots: 0, status: 'Running' },
  save: { verb: 'Save', boots: 0, status: 'Saved' },
  'soft-reboot': { verb: 'SoftReboot', boots: 1, status: 'Running' },
  'inject-nmi': { verb: 'InjectNMI', boots: 0, status: 'Running' },
  'send-key': {
    verb: 'SendKey',
    spec: { sendKey: { keys: ['KEY_A'] } },
    boots: 0,
    status: 'Running',
    mayBeUnknown: true,
  },
  'set-password': {
    verb: 'SetUserPassword',
    spec: { setUserPassword: { user: 'root', secretRef: { name: passwordSecret } } },
    boots: 0,
    status: 'Running',
    agent: true,
  },
};

/**
 * Tells one story with one kill.
 *
 * @param name A name that no machine has had.
 * @param killAfterMs How long after the story's beginning.
 * @param victims Who is killed.
 */
export async function tellStory(
  node: ExecutorNode,
  guest: Guest,
  story: Story,
  name: string,
  killAfterMs: number,
  victims: Victims = 'executor',
): Promise<StoryResult> {
  const killed = async <T>(act: () => Promise<T>): Promise<T> => {
    const acted = await act();
    await new Promise((resolve) => setTimeout(resolve, killAfterMs));
    const withLibvirtd = victims === 'executor and libvirtd';
    await Promise.all([node.stopExecutor('SIGKILL'), withLibvirtd ? node.libvirtd.signal('KILL') : undefined]);
    if (withLibvirtd) await node.libvirtd.start();
    await node.startExecutor();
    return acted;
  };
  if (story === 'snapshot' || story === 'revert') {
    return { story, killedAfterMs: killAfterMs, boots: await tellSnapshotStory(node, story, name, killed) };
  }
  const agent = story !== 'create' && story !== 'delete' && plots[story].agent === true;
  const spec = guestMachine(node, guest, name, { runStrategy: story === 'create' ? 'Always' : 'Manual', agent });
  let boots = 1;
  if (story === 'create') {
    await killed(() => node.create(name, spec));
    await node.untilStatus(name, 'Running');
  } else {
    await node.create(name, spec);
    await node.operate(name, 'Start');
    await untilBoots(node, name, 1);
    if (story === 'delete') {
      await killed(() => node.machines.delete({ namespace: node.namespace, name }));
      await untilGone(node, name);
      await settle(node, name, boots);
      return { story, killedAfterMs: killAfterMs, boots };
    }
    const plot = plots[story];
    if (plot.before !== undefined) {
      const first = await node.operate(name, plot.before, plot.before === 'Stop' ? { stop: { force: true } } : {});
      if (first.status?.phase !== 'Succeeded') throw new Error(`${plot.before}: ${JSON.stringify(first.status)}`);
    }
    if (agent) {
      await putPassword(node);
      await node.until(name, (vm) => node.condition(vm, 'AgentConnected').status === 'True', 'the agent');
    }
    const { verb = 'Start' } = plot;
    const operation = await node.untilOver(await killed(() => node.ask(name, verb, plot.spec)));
    const isTold = plot.mayBeUnknown === true && operation.status?.reason === 'OutcomeUnknown';
    if (operation.status?.phase !== 'Succeeded' && !isTold)
      throw new Error(`${verb}: ${JSON.stringify(operation.status)}`);
    await node.untilStatus(name, plot.status);
    boots += plot.boots;
  }
  await untilBoots(node, name, boots);
  await settle(node, name, boots);
  await node.delete(name);
  return { story, killedAfterMs: killAfterMs, boots };
}

async function putPassword(node: ExecutorNode): Promise<void> {
  const secret: KubeObject & { readonly stringData: Readonly<Record<string, string>> } = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: passwordSecret, namespace: node.namespace },
    stringData: { password: 'of no worth' },
  };
  await node.client.resource<typeof secret>(builtin.secrets).apply(secret, { force: true });
}

/** A spurious boot takes a few seconds to show. */
async function settle(node: ExecutorNode, name: string, boots: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const seen = await bootsOf(node, name);
  if (seen !== boots) throw new Error(`${name} booted ${seen} times, not ${boots}`);
}

async function untilGone(node: ExecutorNode, name: string): Promise<void> {
  const end = Date.now() + 120_000;
  while ((await node.machines.find({ namespace: node.namespace, name })) !== undefined) {
    if (Date.now() > end) throw new Error(`${name} is still there`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const domains = await node.libvirtd.virsh('list', '--all', '--name');
  if (domains.includes(`default.${name}`)) throw new Error(`the domain of ${name} is still there`);
}

/** What a run of many stories came to. */
export interface KillRun {
  readonly stories: number;
  readonly kills: number;
  readonly boots: number;
  readonly failures: readonly string[];
}

/**
 * Tells `count` stories, each with a kill at a random moment of its first 400 ms.
 *
 * @param random As Math.random.
 */
export async function killRun(
  count: number,
  random: () => number,
  log: (line: string) => void,
  victims: Victims = 'executor',
): Promise<KillRun> {
  const guest = await testGuest();
  const node = await startExecutorNode();
  const failures: string[] = [];
  let boots = 0;
  try {
    for (let index = 0; index < count; index += 1) {
      const story = stories[index % stories.length] ?? 'create';
      const killAfterMs = Math.floor(random() * (index % 3 === 0 ? 400 : 100));
      try {
        const result = await tellStory(node, guest, story, `victim-${index}`, killAfterMs, victims);
        boots += result.boots;
        log(`${index + 1}/${count} ${story}, killed after ${killAfterMs} ms: as it should be`);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        failures.push(`${story}, killed after ${killAfterMs} ms: ${message}`);
        log(`${index + 1}/${count} ${story}, killed after ${killAfterMs} ms: WRONG: ${message}`);
      }
    }
  } finally {
    await node.close();
  }
  return { stories: count, kills: count, boots, failures };
}
