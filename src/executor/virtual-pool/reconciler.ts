/**
 * VirtualPool on one node: defined, started (what it is made of is made where it is missing), started with the node,
 * refreshed; and its line in status.nodes. Every executor writes the line of its node, and the sums that follow from all
 * lines. The last node that lets a deleted pool go takes the finalizer away.
 */
import { namesOf } from './names-of.ts';
import { poolDrift, poolName, poolXml, readPool } from './pool-definition.ts';
import { ensurePoolSecret, removePoolSecret, withAuth } from './pool-secret.ts';
import { selectedNodes } from './selected-nodes.ts';
import {
  defaultPoolName,
  isPassing,
  libvirtOf,
  lookAfterMs,
  problemOf,
  StorageProblem,
  waitMs,
  type StorageContext,
} from './storage-context.ts';
import { tellChange } from './tell-change.ts';
import { domainsInPool } from '../virtual-disk/disk-users.ts';
import { mergePatchOf } from '../status-patch.ts';
import { memberAt, textOf } from '../virtual-machine/same-value.ts';
import { formatBytes, parseQuantity } from '../../api/quantity.ts';
import {
  forceStopAnnotation,
  refreshAnnotation,
  type VirtualPool,
  type VirtualPoolStatus,
} from '../../api/virtual-pool.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { ForbiddenError } from '../../base/errors.ts';
import { parseObjectKey, refOf } from '../../kube/object.ts';
import { isNotFound as isObjectGone } from '../../kube/status-error.ts';
import { isInvalidState, isNotFound } from '../../libvirt/errors.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';
import { setCondition } from '../../reconcile/conditions.ts';
import type { ReconcileContext, ReconcileResult } from '../../reconcile/controller.ts';
import { addFinalizer, hasFinalizer, isBeingDeleted, removeFinalizer } from '../../reconcile/finalizers.ts';

/** Keeps the object until no node has the pool any more. */
export const poolFinalizer = 'virtctl.dev/pool';

type NodeLine = NonNullable<VirtualPoolStatus['nodes']>[number];

const defaultRefreshSeconds = 300;
const waitsWord = 'deletion waits for ';
const stopWaitsWord = 'stop waits for ';
/** Building a file system or a volume group takes its time. */
const buildTimeoutMs = 30 * 60_000;

/** Types whose build can be told not to overwrite what is there (libvirt src/storage). */
const carefulBuild: ReadonlySet<string> = new Set(['fs', 'disk', 'logical']);

/** Reconciles the pools of a node. */
export class PoolReconciler {
  readonly #context: StorageContext;
  readonly #refreshedMs = new Map<string, number>();

  constructor(context: StorageContext) {
    this.#context = context;
  }

  /** Does what is next for a pool, named by its key. */
  async reconcile(key: string, { signal }: ReconcileContext): Promise<ReconcileResult | undefined> {
    const { pools, nodeName } = this.#context;
    let pool = await pools.find(parseObjectKey(key), { signal });
    if (pool === undefined) {
      this.#refreshedMs.delete(key);
      return undefined;
    }
    const selected = selectedNodes(pool.spec.nodeSelector, this.#context.nodes());
    const mine = pool.status?.nodes?.find((one) => one.nodeName === nodeName);
    if (isBeingDeleted(pool)) return this.#release(pool, mine, signal);
    if (!selected.includes(nodeName)) {
      if (mine === undefined) return undefined;
      return this.#leave(pool, mine, signal);
    }
    pool = await addFinalizer(pools, pool, poolFinalizer, signal);
    pool = await this.#forgetForce(pool, signal);
    // Told before anything is made: nobody must take this node for clean.
    if (mine === undefined) pool = await this.#note(pool, { nodeName, state: 'absent' }, signal);
    const outcome = await this.#ensure(pool, mine, signal);
    await this.#report(outcome.pool, outcome.line, outcome, signal);
    if (outcome.problem !== undefined) {
      const afterMs = lookAfterMs(outcome.problem);
      if (afterMs === undefined) throw outcome.problem;
      return { requeueAfterMs: afterMs };
    }
    if (isWaiting(outcome.line)) return { requeueAfterMs: waitMs };
    return { requeueAfterMs: (pool.spec.refreshIntervalSeconds ?? defaultRefreshSeconds) * 1000 };
  }

  /**
   * A stop that was forced is over when the pool is to run again: the next one waits for guests as the first had to. An
   * executor that may write status alone leaves it to the controller (src/controller/forced-stops.ts).
   */
  async #forgetForce(pool: VirtualPool, signal: AbortSignal): Promise<VirtualPool> {
    if (pool.spec.active === false || pool.metadata.annotations?.[forceStopAnnotation] === undefined) return pool;
    const { uid, resourceVersion } = pool.metadata;
    const metadata = { uid, resourceVersion, annotations: { [forceStopAnnotation]: null } };
    try {
      return await this.#context.pools.mergePatch(refOf(pool), { metadata }, { signal });
    } catch (error) {
      if (error instanceof ForbiddenError) return pool;
      throw error;
    }
  }

  /** Brings the node's pool to what spec says. */
  async #ensure(given: VirtualPool, before: NodeLine | undefined, signal: AbortSignal): Promise<Outcome> {
    const { nodeName } = this.#context;
    let mine = before;
    let pool = given;
    const libvirt = libvirtOf(this.#context);
    const options = { signal };
    let object = given;
    let there: Pool | undefined;
    let drift: readonly string[] = [];
    let problem: StorageProblem | undefined;
    let waitsFor: readonly string[] = [];
    try {
      there = await findPool(libvirt.pools.byName(poolName(pool), options));
      if (there !== undefined && given.spec.build === 'Overwrite' && mine?.uuid === undefined) {
        // What runs may have disks in it, whatever becomes of it from here on.
        if (await there.isActive(options)) {
          mine = { ...mine, nodeName, state: 'running', uuid: there.uuid };
          object = await this.#note(object, mine, signal);
        }
      }
      const auth = await during('DefineFailed', () => ensurePoolSecret(this.#context, given, signal));
      pool = withAuth(given, auth);
      if (there === undefined) {
        there = await during('DefineFailed', () => libvirt.pools.defineXml(poolXml(pool, undefined), options));
      } else drift = await this.#putRight(pool, there, mine, signal);
      const { uuid } = there;
      waitsFor = await this.#power(pool, there, mine, signal, async () => {
        object = await this.#note(object, { ...mine, nodeName, state: 'inactive', uuid }, signal);
      });
      const autostart = pool.spec.autostart ?? true;
      const isPersistent = await there.isPersistent(options);
      if (isPersistent && (await there.autostart(options)) !== autostart) {
        await during('DefineFailed', () => (there as Pool).setAutostart(autostart, options));
      }
      if (auth === undefined) await removePoolSecret(this.#context, given, signal);
      await this.#refresh(pool, there, mine, signal);
    } catch (error) {
      if (isPassing(error, signal)) throw error;
      problem = problemOf(error, 'StartFailed', `pool ${poolName(pool)} on node ${nodeName}`);
    }
    const noted = object.status?.nodes?.find((one) => one.nodeName === nodeName);
    const line = await this.#describe(pool, there, noted, { problem, waitsFor }, signal);
    return { pool: object, line, drift, problem };
  }

  /** @returns What is still otherwise than spec says. */
  async #putRight(
    pool: VirtualPool,
    there: Pool,
    mine: NodeLine | undefined,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const drift = poolDrift(pool, readPool(await there.xml({ inactive: true, signal })));
    const isNews = mine?.observedGeneration !== pool.metadata.generation && (pool.spec.overlay ?? []).length > 0;
    if (drift.length === 0 && !isNews) {
      const running = (await there.isActive({ signal })) ? poolDrift(pool, readPool(await there.xml({ signal }))) : [];
      if (running.length === 0 || (await this.#usersHere(pool, signal)).length > 0) return running;
      await during('DefineFailed', () => there.destroy({ signal }));
      return [];
    }
    if (pool.spec.driftPolicy === 'Report') return drift;
    const xml = poolXml(pool, there.uuid);
    await during('DefineFailed', () => libvirtOf(this.#context).pools.defineXml(xml, { signal }));
    if (!(await there.isActive({ signal }))) return [];
    // What is in use goes on as it is: stopping a pool can take its volumes away.
    if ((await this.#usersHere(pool, signal)).length > 0) return drift;
    await during('DefineFailed', () => there.destroy({ signal }));
    return [];
  }

  /**
   * @param noteOverwritten Is done before what was overwritten can have anything in it.
   * @returns The domains that it is not stopped under: what is in it may be cut off from their guests (iSCSI).
   */
  async #power(
    pool: VirtualPool,
    there: Pool,
    mine: NodeLine | undefined,
    signal: AbortSignal,
    noteOverwritten: () => Promise<void>,
  ): Promise<readonly string[]> {
    const isActive = await there.isActive({ signal });
    if (pool.spec.active === false) {
      if (!isActive) return [];
      const isForced = pool.metadata.annotations?.[forceStopAnnotation] === 'true';
      const domains = isForced ? [] : await this.#domainsIn(pool, true, signal);
      if (domains.length === 0) await during('StartFailed', () => there.destroy({ signal }));
      return domains;
    }
    if (isActive) return [];
    const { build = 'IfMissing' } = pool.spec;
    const type = pool.spec.pool?.type ?? '';
    const isOverwrite = build === 'Overwrite' && mine?.uuid === undefined && carefulBuild.has(type);
    if (isOverwrite) {
      await during('BuildFailed', () => there.build({ overwrite: true, signal, timeoutMs: buildTimeoutMs }));
      await noteOverwritten();
    }
    try {
      await there.start({ signal });
      return [];
    } catch (error) {
      if (build === 'Never' || isOverwrite || isPassing(error, signal)) {
        throw isPassing(error, signal) ? error : problemOf(error, 'StartFailed', `pool ${there.name}`);
      }
    }
    const careful = carefulBuild.has(type) ? { noOverwrite: true } : {};
    await during('BuildFailed', () => there.build({ ...careful, signal, timeoutMs: buildTimeoutMs }));
    await during('StartFailed', () => there.start({ signal }));
    return [];
  }

  async #refresh(pool: VirtualPool, there: Pool, mine: NodeLine | undefined, signal: AbortSignal): Promise<void> {
    if (pool.spec.active === false) return;
    const key = pool.metadata.name ?? '';
    const everyMs = (pool.spec.refreshIntervalSeconds ?? defaultRefreshSeconds) * 1000;
    const last = this.#refreshedMs.get(key);
    const nowMs = this.#context.clock.monotonicMs();
    const isAsked = pool.metadata.annotations?.[refreshAnnotation] !== mine?.refreshedFor;
    if (last !== undefined && nowMs - last < everyMs && !isAsked) return;
    try {
      await there.refresh({ signal });
    } catch (error) {
      // A volume is being made in it: the next time will do.
      if (!isInvalidState(error) && !/asynchronous jobs/.test(String(error))) throw error;
    }
    this.#refreshedMs.set(key, nowMs);
  }

  async #describe(
    pool: VirtualPool,
    there: Pool | undefined,
    noted: NodeLine | undefined,
    { problem, waitsFor }: { readonly problem: StorageProblem | undefined; readonly waitsFor: readonly string[] },
    signal: AbortSignal,
  ): Promise<NodeLine> {
    const { nodeName } = this.#context;
    const { generation } = pool.metadata;
    const waits = waitsFor.length === 0 ? undefined : `${stopWaitsWord}${namesOf(waitsFor)} on node ${nodeName}`;
    const told = problem?.message ?? waits;
    const message = told === undefined ? {} : { message: told };
    const asked = pool.metadata.annotations?.[refreshAnnotation];
    const seen =
      told === undefined && generation !== undefined
        ? { observedGeneration: generation, ...(asked === undefined ? {} : { refreshedFor: asked }) }
        : {};
    // Once there, it is remembered whatever fails later: a pool that has it is never overwritten again.
    const uuid = problem === undefined ? there?.uuid : noted?.uuid;
    const known = uuid === undefined ? {} : { uuid };
    if (there === undefined) return { nodeName, state: 'absent', ...known, ...message };
    const info = await there.info({ signal });
    const path = textOf(memberAt(readPool(await there.xml({ signal })), 'target', 'path'));
    const isActive = info.state === 'running' || info.state === 'degraded';
    return {
      nodeName,
      state: info.state,
      ...known,
      ...(path === '' ? {} : { path }),
      ...(isActive
        ? {
            capacity: formatBytes(info.capacityBytes),
            allocation: formatBytes(info.allocationBytes),
            available: formatBytes(info.availableBytes),
            volumes: (await there.volumes({ signal })).length,
          }
        : {}),
      ...seen,
      ...message,
    };
  }

  /** Who is in the pool: on one node, or anywhere. */
  #inUseBy(pool: VirtualPool, nodeName?: string): string[] {
    const name = pool.metadata.name ?? '';
    const isHere = (one: string | undefined): boolean =>
      nodeName === undefined || pool.spec.shared === true || one === undefined || one === '' || one === nodeName;
    const disks = this.#context
      .knownDisks()
      // Where it was begun it stays, whatever spec says by now.
      .filter(({ spec, status }) => (spec.pool ?? defaultPoolName) === name || status?.pool === poolName(pool))
      .filter(({ status }) => isHere(status?.nodeName))
      .map(({ metadata }) => `VirtualDisk ${metadata.namespace ?? ''}/${metadata.name ?? ''}`);
    const images = this.#context
      .knownImages()
      .filter(
        ({ spec, status }) =>
          (spec.pool ?? defaultPoolName) === name &&
          (nodeName === undefined || status?.nodes?.some((line) => isHere(line.nodeName)) === true),
      )
      .map(({ metadata }) => `VirtualImage ${metadata.namespace ?? ''}/${metadata.name ?? ''}`);
    return [...disks, ...images].sort();
  }

  /** Who is in the pool on this node: objects, else domains of libvirt that have its volumes or files. */
  async #usersHere(pool: VirtualPool, signal: AbortSignal): Promise<string[]> {
    const objects = this.#inUseBy(pool, this.#context.nodeName);
    return objects.length > 0 ? objects : this.#domainsIn(pool, false, signal);
  }

  /** @param active Those that run; else all. */
  async #domainsIn(pool: VirtualPool, active: boolean, signal: AbortSignal): Promise<string[]> {
    const names = await domainsInPool(libvirtOf(this.#context), poolName(pool), active, signal);
    return names.map((name) => `domain ${name}`);
  }

  /** The object is to go. */
  async #release(
    pool: VirtualPool,
    mine: NodeLine | undefined,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    if (!hasFinalizer(pool, poolFinalizer)) return undefined;
    const users = this.#inUseBy(pool);
    if (users.length > 0) {
      if (mine !== undefined) await this.#report(pool, mine, { line: mine, waitsFor: users }, signal);
      return { requeueAfterMs: 30_000 };
    }
    if (mine !== undefined) {
      // Told in the node's line, since every node sees its own domains only.
      const domains = await this.#domainsIn(pool, false, signal);
      if (domains.length > 0) {
        const line = { ...mine, message: `${waitsWord}${namesOf(domains)} on node ${mine.nodeName}` };
        await this.#report(pool, line, { line }, signal);
        return { requeueAfterMs: waitMs };
      }
      await this.#remove(pool, mine, signal);
    }
    // What a node that is gone for good had is nobody's to remove.
    const known = new Set(this.#context.nodes().map(({ name }) => name));
    const fresh = await this.#context.pools.find(refOf(pool), { signal });
    if (fresh === undefined) return undefined;
    if ((fresh.status?.nodes ?? []).some(({ nodeName }) => known.has(nodeName))) return { requeueAfterMs: 10_000 };
    await removeFinalizer(this.#context.pools, fresh, poolFinalizer, signal);
    const note = 'the pool is gone from all nodes';
    this.#context.record({ regarding: pool, type: 'Normal', reason: 'Deleted', action: 'Delete', note });
    return undefined;
  }

  /** The node is no longer selected. */
  async #leave(pool: VirtualPool, mine: NodeLine, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const users = await this.#usersHere(pool, signal);
    if (users.length === 0) {
      await this.#remove(pool, mine, signal);
      return undefined;
    }
    const line = { ...mine, message: `the node is no longer selected, but the pool is in use by ${namesOf(users)}` };
    await this.#report(pool, line, { line }, signal);
    return { requeueAfterMs: 30_000 };
  }

  /** Stops and undefines the node's pool, and takes its line away. */
  async #remove(pool: VirtualPool, mine: NodeLine, signal: AbortSignal): Promise<void> {
    const options = { signal };
    try {
      const there = await findPool(libvirtOf(this.#context).pools.byName(poolName(pool), options));
      if (there !== undefined) {
        if (await there.isActive(options)) await there.destroy(options);
        if (isBeingDeleted(pool) && pool.spec.reclaimPolicy === 'Delete') {
          await there.delete({ ...options, timeoutMs: buildTimeoutMs });
        }
        await there.undefine(options);
      }
      await removePoolSecret(this.#context, pool, signal);
    } catch (error) {
      if (isPassing(error, signal)) throw error;
      const problem = problemOf(error, 'StartFailed', `pool ${poolName(pool)}`);
      const line = { ...mine, message: `cannot be removed: ${problem.message}` };
      await this.#report(pool, line, { line, problem }, signal);
      throw problem;
    }
    await this.#report(pool, undefined, {}, signal);
  }

  /** Writes the node's line alone, in the middle of what is done; what follows from it is told when that is over. */
  async #note(pool: VirtualPool, line: NodeLine, signal: AbortSignal): Promise<VirtualPool> {
    const { resourceVersion, uid } = pool.metadata;
    const others = (pool.status?.nodes ?? []).filter(({ nodeName }) => nodeName !== line.nodeName);
    return this.#context.pools.mergePatch(
      refOf(pool),
      { metadata: { resourceVersion, uid }, status: { nodes: [...others, line] } },
      { subresource: 'status', signal },
    );
  }

  async #report(
    pool: VirtualPool,
    line: NodeLine | undefined,
    outcome: Partial<Outcome> & { readonly waitsFor?: readonly string[] },
    signal: AbortSignal,
  ): Promise<void> {
    const { nodeName, clock } = this.#context;
    const nowMs = clock.now();
    const before = pool.status ?? {};
    const selected = selectedNodes(pool.spec.nodeSelector, this.#context.nodes());
    const others = (before.nodes ?? []).filter((one) => one.nodeName !== nodeName);
    const old = before.nodes?.find((one) => one.nodeName === nodeName);
    const dated = line === undefined ? undefined : { ...line, lastUpdateTime: toKubernetesTime(nowMs) };
    const isSame = old !== undefined && line !== undefined && mergePatchOf(without(old), without(line)) === undefined;
    const nodes = [...others, ...(isSame ? [old] : dated === undefined ? [] : [dated])].sort((a, b) =>
      a.nodeName < b.nodeName ? -1 : 1,
    );
    const wanted = pool.spec.active === false ? 'inactive' : 'running';
    const ready = nodes.filter((one) => one.state === wanted && (one.message === undefined || isWaiting(one)));
    const sum = (member: 'capacity' | 'available'): string => {
      const sizes = nodes.map((one) => parseQuantity(one[member] ?? '0') ?? 0);
      return formatBytes(pool.spec.shared === true ? Math.max(0, ...sizes) : sizes.reduce((all, one) => all + one, 0));
    };
    const failed = nodes.find((one) => one.message !== undefined && !isWaiting(one));
    const generation = pool.metadata.generation;
    const isReady = ready.length > 0 && selected.every((name) => ready.some((one) => one.nodeName === name));
    let conditions = setCondition(
      before.conditions,
      {
        type: 'Ready',
        status: isReady,
        reason: isReady
          ? 'Running'
          : (outcome.problem?.reason ?? (selected.length === 0 ? 'NoNodes' : 'NotOnAllNodes')),
        message:
          failed === undefined
            ? selected.length === 0
              ? 'no node is selected'
              : ''
            : `${failed.nodeName}: ${failed.message ?? ''}`,
        observedGeneration: generation,
      },
      nowMs,
    );
    if (outcome.drift !== undefined) {
      const isSync = outcome.drift.length === 0;
      const how =
        pool.spec.driftPolicy === 'Report' ? 'differs' : 'differs until the pool can be stopped, since it is in use';
      conditions = setCondition(
        conditions,
        {
          type: 'Synchronized',
          status: isSync,
          reason: isSync ? 'InSync' : 'Drifted',
          message: isSync ? '' : `${nodeName}: ${outcome.drift.join(', ')} ${how}`,
          observedGeneration: generation,
        },
        nowMs,
      );
    }
    const users = outcome.waitsFor ?? [];
    const waits = users.length > 0 ? `${waitsWord}${namesOf(users)}` : (nodes.find(isWaiting)?.message ?? '');
    conditions = setCondition(
      conditions,
      {
        type: 'InUse',
        status: waits !== '',
        reason: waits === '' ? 'NotInUse' : 'InUse',
        message: waits,
        observedGeneration: generation,
      },
      nowMs,
    );
    const after = {
      ...before,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      summary: `${ready.length}/${Math.max(selected.length, nodes.length)}`,
      capacity: sum('capacity'),
      available: sum('available'),
      usedBy: this.#inUseBy(pool).length,
      nodes,
      conditions,
    };
    const patch = mergePatchOf(pool.status, after);
    if (patch === undefined) return;
    const { resourceVersion, uid } = pool.metadata;
    try {
      await this.#context.pools.mergePatch(
        refOf(pool),
        { metadata: { resourceVersion, uid }, status: patch },
        { subresource: 'status', signal },
      );
      tellChange(this.#context, pool, before.conditions, conditions);
    } catch (error) {
      if (!isObjectGone(error)) throw error;
    }
  }
}

/** What one look at the node's pool came to. */
interface Outcome {
  /** The object as it is now. */
  readonly pool: VirtualPool;
  readonly line: NodeLine;
  /** Paths that are otherwise than spec says. */
  readonly drift: readonly string[];
  readonly problem: StorageProblem | undefined;
}

async function findPool(lookup: Promise<Pool>): Promise<Pool | undefined> {
  try {
    return await lookup;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Names the step that a failure belongs to. */
async function during<T>(reason: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StorageProblem || !(error instanceof Error) || error.name !== 'LibvirtError') throw error;
    throw problemOf(error, reason, 'the pool');
  }
}

/** Whether a line says that the node's domains hold the pool's deletion or stop up. */
function isWaiting({ message = '' }: NodeLine): boolean {
  return message.startsWith(waitsWord) || message.startsWith(stopWaitsWord);
}

function without(line: NodeLine): NodeLine {
  return { ...line, lastUpdateTime: undefined };
}
