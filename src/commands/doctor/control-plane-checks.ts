import type { Check, Finding } from './check.ts';
import { customResourceDefinition } from '../../api/crd.ts';
import { leaseNamespace, type Hypervisor } from '../../api/hypervisor.ts';
import { hypervisorKind, kinds } from '../../api/kinds.ts';
import { apiVersion } from '../../api/meta.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import { builtin } from '../../kube/resource-type.ts';
import { isNotFound } from '../../kube/status-error.ts';

interface Crd extends KubeObject {
  readonly spec: { readonly versions: readonly { readonly name: string; readonly schema?: unknown }[] };
}

interface Lease extends KubeObject {
  readonly spec?: { readonly renewTime?: string; readonly leaseDurationSeconds?: number };
}

/** A clock that is off by more makes certificates and leases fail. */
const maxSkewMs = 5000;

/** The checks of the API server. `open` connects; it is called once. */
export function controlPlaneChecks(
  open: () => Promise<KubeClient>,
  now: () => number,
): { readonly checks: readonly Check[]; readonly close: () => void } {
  let client: KubeClient | undefined;
  const withClient =
    (work: (client: KubeClient, signal: AbortSignal) => Promise<Finding>): Check['run'] =>
    async (signal) =>
      client === undefined ? { status: 'skip', message: 'needs the API server' } : work(client, signal);
  const checks: Check[] = [
    {
      name: 'API server is reachable',
      async run(signal) {
        const opened = await open();
        const { gitVersion } = await opened.version({ signal });
        client = opened;
        return { status: 'ok', message: gitVersion };
      },
    },
    { name: 'kinds are installed and current', run: withClient(checkKinds) },
    { name: 'executors are alive', run: withClient((one, signal) => checkLeases(one, now(), signal)) },
    { name: 'domains have their machines', run: withClient(checkOrphans) },
  ];
  return { checks, close: () => client?.close() };
}

async function checkKinds(client: KubeClient, signal: AbortSignal): Promise<Finding> {
  const fix = 'virtctl crd | kubectl apply --server-side -f -';
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
    fix: 'virtctl recover, on that node; or virsh undefine what nobody needs',
  };
}

async function checkLeases(client: KubeClient, now: number, signal: AbortSignal): Promise<Finding> {
  const { items } = await client.resource<Lease>(builtin.leases).listAll({ namespace: leaseNamespace, signal });
  if (items.length === 0) {
    return { status: 'warn', message: 'there is none', fix: 'virtctl executor --node-name NAME, on each node' };
  }
  const ages = items.map((lease) => ({
    name: lease.metadata.name ?? '',
    age: now - Date.parse(lease.spec?.renewTime ?? ''),
    limit: (lease.spec?.leaseDurationSeconds ?? 40) * 1000,
  }));
  const future = ages.filter(({ age }) => age < -maxSkewMs);
  if (future.length > 0) {
    const message = future
      .map(({ name, age }) => `${name} is ${Math.round(-age / 1000)} s ahead of this host`)
      .join('; ');
    return { status: 'warn', message: `clocks differ: ${message}`, fix: 'synchronise the clocks, as with chrony' };
  }
  const dead = ages.filter(({ age, limit }) => !(age <= limit));
  if (dead.length === 0) return { status: 'ok', message: ages.map(({ name }) => name).join(', ') };
  return {
    status: 'warn',
    message: dead.map(({ name, age }) => `${name} was last heard of ${Math.round(age / 1000)} s ago`).join('; '),
    fix: 'systemctl status virtctl-executor, on that node; its guests run on meanwhile',
  };
}
