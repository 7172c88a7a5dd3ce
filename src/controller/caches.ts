/** What the controller knows of the cluster: informers over the kinds that it looks things up in. */
import type { Hypervisor } from '../api/hypervisor.ts';
import { leaseNamespace } from '../api/hypervisor.ts';
import { resourceOfKind } from '../api/kinds.ts';
import { disksOf, networksOf } from '../api/lookup.ts';
import type { KubeObject } from '../api/meta.ts';
import { apiVersion } from '../api/meta.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import type { VirtualNetwork } from '../api/virtual-network.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { Informer } from '../kube/informer.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { builtin } from '../kube/resource-type.ts';
import type { Lease } from '../reconcile/lease.ts';

/** Informers that run together. */
export class Caches {
  /** Without `spec.domain` and `spec.overlay`, which nobody here looks at and which are nearly all of its size. */
  readonly machines: Informer<VirtualMachine, 'disk' | 'network' | 'node'>;
  readonly operations: Informer<VirtualMachineOperation>;
  readonly hypervisors: Informer<Hypervisor>;
  /** The executors' signs of life. */
  readonly leases: Informer<Lease>;
  readonly #others: ReadonlyMap<string, Informer<KubeObject>>;

  constructor(client: KubeClient, options: { readonly logger: Logger; readonly clock: Clock }) {
    const informer = <T extends KubeObject>(kind: string, transform?: (object: T) => T): Informer<T> =>
      new Informer<T>({ source: client.resource<T>(resourceOfKind(kind)), transform, ...options });
    this.machines = new Informer<VirtualMachine, 'disk' | 'network' | 'node'>({
      source: client.resource<VirtualMachine>(resourceOfKind('VirtualMachine')),
      transform: slimMachine,
      indexers: {
        disk: (machine) => disksOf(machine).map(({ disk }) => `${machine.metadata.namespace ?? ''}/${disk}`),
        network: (machine) => networksOf(machine).map((network) => `${machine.metadata.namespace ?? ''}/${network}`),
        node: ({ spec }) => ((spec.nodeName ?? '') === '' ? [] : [spec.nodeName ?? '']),
      },
      ...options,
    });
    this.operations = informer<VirtualMachineOperation>('VirtualMachineOperation');
    this.hypervisors = informer<Hypervisor>('Hypervisor');
    this.leases = new Informer<Lease>({
      source: client.resource<Lease>(builtin.leases),
      namespace: leaseNamespace,
      ...options,
    });
    this.#others = new Map([
      ['VirtualPool', informer<KubeObject>('VirtualPool')],
      ['VirtualNetwork', informer<KubeObject>('VirtualNetwork', slimNetwork)],
      ...['VirtualDisk', 'VirtualImage', 'VirtualMachineSnapshot'].map((kind): [string, Informer<KubeObject>] => [
        kind,
        informer<KubeObject>(kind, namesOnly),
      ]),
    ]);
  }

  /**
   * An object of one of our kinds by its name. Secrets and ConfigMaps are taken to exist: to know, the controller would
   * need the right to read every secret of the cluster, and all that depends on it is a warning.
   */
  find(kind: string, namespace: string | undefined, name: string): KubeObject | undefined {
    const key = namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
    if (kind === 'VirtualMachine') return this.machines.get(key);
    if (kind === 'VirtualMachineOperation') return this.operations.get(key);
    if (kind === 'Hypervisor') return this.hypervisors.get(key);
    const informer = this.#others.get(kind);
    return informer === undefined ? { apiVersion: 'v1', kind, metadata: { namespace, name } } : informer.get(key);
  }

  /** The kinds that executors keep finalizers on. */
  held(): ReadonlyMap<string, Informer<KubeObject>> {
    return new Map([
      ['VirtualMachine', this.machines as unknown as Informer<KubeObject>],
      ['VirtualMachineOperation', this.operations as Informer<KubeObject>],
      ...this.#others,
    ]);
  }

  /** All VirtualNetworks, with what they take of a node. */
  networks(): readonly VirtualNetwork[] {
    return (this.#others.get('VirtualNetwork')?.list() ?? []) as readonly VirtualNetwork[];
  }

  /** Follows the server until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#all().map((one) => one.run(signal)));
  }

  /**
   * Resolves once everything is known.
   *
   * @throws the signal's reason when it aborts before.
   */
  async synced(signal: AbortSignal): Promise<void> {
    for (const one of this.#all()) await one.synced(signal);
  }

  /** Whether everything was known once. */
  isSynced(): boolean {
    return this.#all().every((one) => one.health().synced);
  }

  #all(): readonly Pick<Informer<KubeObject>, 'run' | 'synced' | 'health'>[] {
    return [this.machines, this.operations, this.hypervisors, this.leases, ...this.#others.values()];
  }
}

function slimMachine(machine: VirtualMachine): VirtualMachine {
  const { managedFields: _managed, annotations: _annotations, ...metadata } = machine.metadata;
  const { domain: _domain, overlay: _overlay, ...spec } = machine.spec;
  return { ...machine, metadata, spec };
}

/** What finds an object, and what the finalizer keeper goes by. */
function namesOnly(object: KubeObject): KubeObject {
  const { kind, metadata, status } = object;
  const { name, namespace, uid, resourceVersion, finalizers, deletionTimestamp } = metadata;
  const { conditions = [] } = (status ?? {}) as { readonly conditions?: readonly { readonly type: string }[] };
  const hold = conditions.filter(({ type }) => type === 'Hold');
  return {
    ...{ apiVersion, kind, metadata: { name, namespace, uid, resourceVersion, finalizers, deletionTimestamp } },
    ...(hold.length === 0 ? {} : { status: { conditions: hold } }),
  };
}

/** Besides, what a network takes of a node: src/api/network-claims.ts. */
function slimNetwork(object: KubeObject): KubeObject {
  const { bridge, forward, ip } = (object as VirtualNetwork).spec.network ?? {};
  const parts = Object.entries({ bridge, forward, ip }).filter(([, part]) => part !== undefined);
  return { ...namesOnly(object), spec: { network: Object.fromEntries(parts) } };
}
