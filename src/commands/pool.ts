import { Option, type Command } from 'commander';
import { virtualDiskKind, virtualImageKind, virtualPoolKind } from '../api/kinds.ts';
import type { VirtualDisk } from '../api/virtual-disk.ts';
import type { VirtualImage } from '../api/virtual-image.ts';
import { forceStopAnnotation, refreshAnnotation, type VirtualPool } from '../api/virtual-pool.ts';
import { toKubernetesMicroTime } from '../base/clock.ts';
import { ConflictError, FailedError, ForbiddenError, NotFoundError } from '../base/errors.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { resourceTypeOf } from '../cli/machine-verb.ts';
import { forEachReported } from '../cli/resources/resource-options.ts';
import { waitForObject } from '../cli/wait-for-object.ts';
import { writeResult } from '../cli/write-result.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { ResourceClient } from '../kube/resource-client.ts';

interface PoolFlags extends KubeFlags {
  readonly wait: boolean;
  readonly timeout: number;
  readonly force?: boolean;
  readonly disable?: boolean;
}

/** What a verb changes, and what has to hold of the pool then. */
interface PoolVerb {
  readonly patch: (pool: VirtualPool) => object;
  readonly holds: (pool: VirtualPool) => boolean;
  readonly done: string;
}

/** `virtctl pool start|stop|refresh|autostart`: storage pools, on all their nodes. */
export function configure(command: Command, context: Context): void {
  command.usage('start|stop|refresh|autostart NAME... [options]');
  add(command, context, 'start', 'start pools', () => activity(true));
  add(command, context, 'stop', 'stop pools, and keep them stopped; what is in them stays', ({ force }) =>
    activity(false, force === true),
  )
    .option('--force', 'also while disks or images are in them, and guests run on them')
    .addHelpText('after', '\nWithout --force, a pool that guests run on is stopped once they are off.');
  add(command, context, 'refresh', 'look for volumes that came or went', () => refresh(context)).addHelpText(
    'after',
    '\nEvery pool is looked at each spec.refreshIntervalSeconds anyway.',
  );
  add(command, context, 'autostart', 'have pools started with their nodes', ({ disable }) =>
    autostart(disable !== true),
  ).option('--disable', 'not any more');
}

function add(
  parent: Command,
  context: Context,
  name: string,
  summary: string,
  verbOf: (flags: PoolFlags) => PoolVerb,
): Command {
  const command = parent
    .command(name)
    .summary(summary)
    .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`)
    .argument('<name...>', 'the VirtualPools')
    .addOption(
      new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(120_000, '2m'),
    );
  addBooleanFlag(command, 'wait', 'wait until it is so on all nodes', true);
  addKubeOptions(command);
  addExamples(command, [['One', `virtctl pool ${name} fast`]]);
  return command.action(async (names: readonly string[], flags: PoolFlags) => {
    await withKubeClient(context, flags, async (client) => {
      const pools = client.resource<VirtualPool>(resourceTypeOf(virtualPoolKind));
      await forEachReported(context, names, (one) =>
        apply(context, client, pools, one.replace(/^[^/]+\//, ''), verbOf(flags), flags),
      );
    });
  });
}

/** Reasons of Ready that tell of no refusal: some node is not so far yet. */
const unsettled: ReadonlySet<string> = new Set(['NotOnAllNodes', 'NoNodes']);

async function apply(
  context: Context,
  client: KubeClient,
  pools: ResourceClient<VirtualPool>,
  name: string,
  verb: PoolVerb,
  flags: PoolFlags,
): Promise<void> {
  const { signal } = context;
  const pool = await pools.get({ name }, { signal });
  const users = pool.status?.usedBy ?? 0;
  if (verb.done === 'stopped' && users > 0 && flags.force !== true) {
    throw new ConflictError(`vpool/${name}: ${await contentOf(client, name, users, signal)} in it`, {
      hint: 'machines that run go on with what they have open, but none can start; give --force',
    });
  }
  const { uid } = pool.metadata;
  const patch = verb.patch(pool) as { readonly metadata?: object };
  const changed = await pools.mergePatch({ name }, { ...patch, metadata: { ...patch.metadata, uid } }, { signal });
  if (flags.wait) {
    const generation = changed.metadata.generation ?? 0;
    const isNew = generation !== pool.metadata.generation;
    const settled = (now: VirtualPool | undefined): boolean => {
      if (now === undefined || now.metadata.uid !== uid) throw new NotFoundError(`vpool/${name} was deleted meanwhile`);
      const lines = now.status?.nodes ?? [];
      const waiting = lines.find(({ message }) => message?.startsWith('stop waits') === true);
      if (waiting !== undefined && verb.done === 'stopped' && flags.force !== true) {
        throw new ConflictError(`vpool/${name}: ${waiting.message ?? ''}`, {
          hint: `it is stopped once they are off; --force stops it now, 'virtctl pool start ${name}' calls it off`,
        });
      }
      const ready = now.status?.conditions?.find(({ type }) => type === 'Ready');
      // What was refused before it was asked for is tried again.
      const isRefused = isNew && ready?.status === 'False' && !unsettled.has(ready.reason ?? 'NotOnAllNodes');
      if (isRefused && ready.observedGeneration === generation)
        throw new FailedError(`vpool/${name} on node ${ready.message ?? ''}`);
      return lines.every(({ observedGeneration }) => (observedGeneration ?? 0) >= generation) && verb.holds(now);
    };
    const what = `vpool/${name} to be ${verb.done} (see 'virtctl describe vpool ${name}')`;
    await waitForObject(pools, { name }, settled, { signal, timeoutMs: flags.timeout, what });
  }
  await writeResult(context, `vpool/${name} ${verb.done}\n`);
}

/** Names at most this many of what is in a pool. */
const maxNames = 5;

/** What is in a pool, with who has it, as `VirtualDisk shop/root (of VirtualMachine web) is`. */
async function contentOf(client: KubeClient, pool: string, count: number, signal: AbortSignal): Promise<string> {
  try {
    const kinds = [virtualDiskKind, virtualImageKind].map(async (kind) => {
      const { items } = await client
        .resource<VirtualDisk | VirtualImage>(resourceTypeOf(kind))
        .listAll({ namespace: undefined, signal });
      return items
        .filter(({ spec }) => (spec.pool ?? 'default') === pool)
        .map(({ metadata, status }) => {
          const users = (status?.usedBy ?? []).map((one) => `${one.kind} ${one.name}`).join(', ');
          return `${kind.kind} ${metadata.namespace ?? ''}/${metadata.name ?? ''}${users === '' ? '' : ` (of ${users})`}`;
        })
        .sort();
    });
    const all = (await Promise.all(kinds)).flat();
    const more = all.length - maxNames;
    const named = all.slice(0, maxNames).join(', ') + (more > 0 ? ` and ${more} more` : '');
    if (all.length > 0) return `${named} ${all.length === 1 ? 'is' : 'are'}`;
  } catch (error) {
    // Who may stop pools need not be allowed to see everybody's disks.
    if (!(error instanceof ForbiddenError)) throw error;
  }
  return `${count} disks and images are`;
}

function activity(active: boolean, force = false): PoolVerb {
  const states = active ? ['running', 'degraded'] : ['inactive'];
  return {
    patch: () => ({ spec: { active }, metadata: { annotations: { [forceStopAnnotation]: force ? 'true' : null } } }),
    holds: ({ status }) => (status?.nodes ?? []).every(({ state = '' }) => states.includes(state)),
    done: active ? 'started' : 'stopped',
  };
}

function refresh(context: Context): PoolVerb {
  const asked = toKubernetesMicroTime(context.now());
  return {
    patch: () => ({ metadata: { annotations: { [refreshAnnotation]: asked } } }),
    // Who asked again since then has another time.
    holds: ({ metadata, status }) =>
      (status?.nodes ?? []).every(({ refreshedFor }) => refreshedFor === metadata.annotations?.[refreshAnnotation]),
    done: 'refreshed',
  };
}

function autostart(enabled: boolean): PoolVerb {
  return {
    patch: () => ({ spec: { autostart: enabled } }),
    holds: () => true,
    done: enabled ? 'started with its nodes' : 'not started with its nodes',
  };
}
