import { oneLine, type Check, type Finding } from './check.ts';
import { ServerClock } from './server-clock.ts';
import { customResourceDefinition } from '../../api/crd.ts';
import { leaseNamespace, type Hypervisor } from '../../api/hypervisor.ts';
import { hypervisorKind, kinds } from '../../api/kinds.ts';
import { apiVersion } from '../../api/meta.ts';
import { ForbiddenError } from '../../base/errors.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import { builtin } from '../../kube/resource-type.ts';
import { isNotFound, statusOf } from '../../kube/status-error.ts';

interface Crd extends KubeObject {
  readonly spec: { readonly versions: readonly { readonly name: string; readonly schema?: unknown }[] };
}

interface Lease extends KubeObject {
  readonly spec?: { readonly renewTime?: string; readonly leaseDurationSeconds?: number };
}

/** An entry of metadata.managedFields. */
interface ManagedFields {
  readonly time?: string;
  readonly fieldsV1?: Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;
}

/** A clock that is off by more makes certificates and leases fail. */
const maxSkewMs = 5000;

/** Connects, and has every answer's time told. */
export type OpenApi = (onServerTime: (time: number) => void) => Promise<KubeClient>;

/**
 * The checks of the API server.
 *
 * @param open Called once.
 * @param now This host's clock, in wall-clock milliseconds.
 */
export function controlPlaneChecks(
  open: OpenApi,
  now: () => number,
): { readonly checks: readonly Check[]; readonly close: () => void } {
  let client: KubeClient | undefined;
  const clock = new ServerClock(now);
  const withClient = (
    name: string,
    fix: string,
    work: (client: KubeClient, signal: AbortSignal) => Promise<Finding>,
  ): Check => ({
    name,
    fix,
    run: async (signal) => {
      if (client === undefined) return { status: 'skip', message: 'needs the API server' };
      clock.asks();
      return work(client, signal);
    },
  });
  const checks: Check[] = [
    {
      name: 'API server is reachable',
      fix: rightServer,
      async run(signal) {
        const opened = await open((time) => clock.answered(time));
        clock.asks();
        try {
          const { gitVersion } = await opened.version({ signal });
          client = opened;
          return { status: 'ok', message: gitVersion };
        } catch (error) {
          // Whom the server does not know may manage nothing.
          if (!(error instanceof ForbiddenError) || statusOf(error)?.code !== 401) throw error;
          return { status: 'fail', message: oneLine(error.message), fix: error.hint ?? rightServer };
        } finally {
          if (client === undefined) opened.close();
        }
      },
    },
    withClient('kinds are installed and current', installKinds, checkKinds),
    withClient('clocks agree', clockFix, (one, signal) => checkClocks(one, clock, signal)),
    withClient('executors are alive', executorFix, (one, signal) =>
      checkLeases(one, () => now() + (clock.aheadMs ?? 0), signal),
    ),
    withClient('domains have their machines', orphanFix, checkOrphans),
  ];
  return { checks, close: () => client?.close() };
}

const rightServer = 'name the right one with --kubeconfig and --context, or start one here: virtctl standalone';
const installKinds = 'virtctl crd | kubectl apply --server-side -f -';
const clockFix = 'synchronise the clocks, as with chrony: apt-get install chrony';
const executorFix = 'systemctl status virtctl-executor, on that node; its guests run on meanwhile';
const orphanFix = 'virtctl recover, on that node; or virsh undefine what nobody needs';

async function checkKinds(client: KubeClient, signal: AbortSignal): Promise<Finding> {
  const fix = installKinds;
  let served: ReadonlySet<string>;
  try {
    served = new Set((await client.discover(apiVersion, { signal })).map(({ kind }) => kind));
  } catch (error) {
    if (!isNotFound(error)) throw error;
    return { status: 'fail', message: `the server does not know ${apiVersion}`, fix };
  }
  const missing = kinds.filter(({ kind }) => !served.has(kind)).map(({ kind }) => kind);
  if (missing.length > 0) return { status: 'fail', message: `missing: ${missing.join(', ')}`, fix };
  const crds = client.resource<Crd>(builtin.customResourceDefinitions);
  const stale: string[] = [];
  for (const info of kinds) {
    const wanted = customResourceDefinition(info);
    try {
      const present = await crds.get({ name: wanted.metadata.name }, { signal });
      const schema = present.spec.versions.find(({ name }) => name === wanted.spec.versions[0]?.name)?.schema;
      if (canonical(schema) !== canonical(wanted.spec.versions[0]?.schema)) stale.push(info.kind);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      // A standalone server has the kinds built in, and no CustomResourceDefinitions.
      return { status: 'ok', message: `${kinds.length} kinds, built into the server` };
    }
  }
  if (stale.length === 0) return { status: 'ok', message: `${kinds.length} kinds, as this version has them` };
  return { status: 'warn', message: `of another version: ${stale.join(', ')}`, fix };
}

/** JSON with sorted keys, so that equal means equal. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

async function checkOrphans(client: KubeClient, signal: AbortSignal): Promise<Finding> {
  const { items } = await client.resource<Hypervisor>(resourceTypeOf(hypervisorKind)).listAll({ signal });
  const found = items.filter(({ status }) => (status?.orphans ?? []).length > 0);
  if (found.length === 0) return { status: 'ok', message: 'no domain was made for a machine that is gone' };
  const message = found.map(
    ({ metadata, status }) =>
      `${metadata.name ?? ''}: ${(status?.orphans ?? []).map(({ domain }) => domain).join(', ')}`,
  );
  return {
    status: 'warn',
    message: `the machines of these domains are gone: ${message.join('; ')}`,
    fix: orphanFix,
  };
}

/** A lease's times. */
interface Beat {
  readonly name: string;
  /** By the node's clock, in wall-clock milliseconds; not a number where it never was. */
  readonly renewed: number;
  /** By the API server's clock, when it stored that; not a number where it does not say. */
  readonly stored: number;
  readonly limitMs: number;
}

async function listBeats(client: KubeClient, signal: AbortSignal): Promise<readonly Beat[]> {
  const { items } = await client.resource<Lease>(builtin.leases).listAll({ namespace: leaseNamespace, signal });
  return items.map(({ metadata, spec }) => {
    const entries = (metadata.managedFields ?? []) as readonly ManagedFields[];
    // Who labels a lease keeps no node alive.
    const renewals = entries.filter(({ fieldsV1 }) => fieldsV1?.['f:spec']?.['f:renewTime'] !== undefined);
    return {
      name: metadata.name ?? '',
      renewed: Date.parse(spec?.renewTime ?? ''),
      stored: Math.max(...renewals.map(({ time }) => Date.parse(time ?? '')), Number.NEGATIVE_INFINITY),
      limitMs: (spec?.leaseDurationSeconds ?? 40) * 1000,
    };
  });
}

/** What both clocks said of the same renewal tells them apart, whatever this host's own says. */
async function checkClocks(client: KubeClient, clock: ServerClock, signal: AbortSignal): Promise<Finding> {
  const beats = await listBeats(client, signal);
  const { aheadMs } = clock;
  // What is between may leave the time out of the answers.
  const off = aheadMs === undefined ? [] : [{ name: 'this host', ms: -aheadMs }];
  for (const { name, renewed, stored } of beats) {
    if (Number.isFinite(stored) && Number.isFinite(renewed)) off.push({ name, ms: renewed - stored });
  }
  if (off.length === 0) return { status: 'skip', message: 'the API server does not say what time it is' };
  const wrong = off.filter(({ ms }) => Math.abs(ms) > maxSkewMs);
  if (wrong.length === 0) {
    return { status: 'ok', message: `${off.map(({ name }) => name).join(', ')} and the API server` };
  }
  const message = wrong.map(({ name, ms }) => {
    return `${name} is ${Math.round(Math.abs(ms) / 1000)} s ${ms > 0 ? 'ahead of' : 'behind'} the API server`;
  });
  return { status: 'warn', message: message.join('; '), fix: clockFix };
}

/** @param now The API server's clock, in wall-clock milliseconds. */
async function checkLeases(client: KubeClient, now: () => number, signal: AbortSignal): Promise<Finding> {
  const beats = await listBeats(client, signal);
  if (beats.length === 0) {
    return { status: 'warn', message: 'there is none', fix: 'virtctl executor --node-name NAME, on each node' };
  }
  const ages = beats.map(({ name, renewed, stored, limitMs }) => {
    // A node whose clock is ahead would otherwise live on for as long after its executor died.
    return { name, limitMs, ageMs: now() - (Number.isFinite(stored) ? stored : renewed) };
  });
  const dead = ages.filter(({ ageMs, limitMs }) => !(ageMs <= limitMs));
  if (dead.length === 0) return { status: 'ok', message: ages.map(({ name }) => name).join(', ') };
  const message = dead.map(({ name, ageMs }) =>
    Number.isNaN(ageMs) ? `${name} was never heard of` : `${name} was last heard of ${Math.round(ageMs / 1000)} s ago`,
  );
  return { status: 'warn', message: message.join('; '), fix: executorFix };
}
