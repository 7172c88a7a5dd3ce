/** VirtualPool, VirtualDisk and VirtualNetwork for what a host has already, so that libvirt's own stays as it is. */
import type { HostDocument, HostInventory, HostVolume } from './host-inventory.ts';
import type { AdoptingNode, KnownObjects, NewObject } from './known-objects.ts';
import { foreignMetadata, markOf } from '../virtual-network/network-mark.ts';
import type { DataObject } from '../virtual-machine/same-value.ts';
import { kubernetesName } from '../../analyser/kubernetes-name.ts';
import type { VirtualDisk, VirtualDiskSpec } from '../../api/virtual-disk.ts';
import type { VirtualNetwork } from '../../api/virtual-network.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';

/** What objects are made with. */
export interface AdoptionContext {
  readonly node: AdoptingNode;
  readonly inventory: HostInventory;
  readonly known: KnownObjects;
  /** Gets every new object, in the order in which they are to be made. */
  readonly add: (object: NewObject) => void;
  /** All nodes that have a pool or network just as it is here; this one alone when left out. */
  readonly nodesWith?: (host: HostDocument) => Promise<readonly AdoptingNode[]>;
}

const apiVersion = 'virtctl.dev/v1alpha1';

/** The label by which a pool or network stays on its node; executors set it on their Hypervisor. */
const hostLabel = 'kubernetes.io/hostname';

/** What libvirt measures or counts, and no definition needs. */
const measured: readonly string[] = ['uuid', 'capacity', 'allocation', 'available', 'connections'];

/** The VirtualPool of a pool: the one that there is, or a new one that says what libvirt says. */
export async function poolObject(context: AdoptionContext, name: string): Promise<VirtualPool> {
  const { node, known, inventory } = context;
  const found = known.poolOf(node, name);
  if (found !== undefined) return found;
  const host = await inventory.pool(name);
  const nodes = (await context.nodesWith?.(host)) ?? [node];
  const pool: VirtualPool = {
    apiVersion,
    kind: 'VirtualPool',
    metadata: { name: known.freeName('VirtualPool', undefined, kubernetesName(name, 'pool'), node.name) },
    spec: {
      ...common(nodes, host),
      build: 'Never',
      reclaimPolicy: 'Retain',
      pool: definition(host),
    },
  };
  context.add(pool);
  return pool;
}

/** The VirtualNetwork of a network; undefined where the host has none of this name. */
export async function networkObject(
  context: AdoptionContext,
  namespace: string,
  name: string,
  wantedName = kubernetesName(name, 'network'),
): Promise<VirtualNetwork | undefined> {
  const { node, known, inventory } = context;
  const found = known.networkOf(node, namespace, name);
  if (found !== undefined) return found;
  const host = await inventory.network(name);
  if (host === undefined) return undefined;
  const mark = markOf(host.value['metadata']);
  if (mark?.namespace === namespace && known.network(namespace, mark.name) === undefined) {
    // It was ours: its object is known by heart.
    const lost: VirtualNetwork = {
      apiVersion,
      kind: 'VirtualNetwork',
      metadata: { namespace, name: mark.name },
      spec: mark.spec as VirtualNetwork['spec'],
    };
    context.add(lost);
    return lost;
  }
  const network: VirtualNetwork = {
    apiVersion,
    kind: 'VirtualNetwork',
    metadata: { namespace, name: known.freeName('VirtualNetwork', namespace, wantedName, node.name) },
    spec: { ...common([node], host), network: definition(host) },
  };
  context.add(network);
  return network;
}

/**
 * The VirtualDisk of a volume: the one that there is, or a new one that takes the volume over without a copy. Deleting it
 * leaves the volume, as nobody has said otherwise.
 *
 * @returns undefined when it is a disk of another namespace already.
 */
export async function diskObject(
  context: AdoptionContext,
  namespace: string,
  volume: HostVolume,
  wantedName = kubernetesName(volume.name.replace(/\.(qcow2?|raw|img|iso|vmdk|vdi)$/i, ''), 'disk'),
): Promise<VirtualDisk | undefined> {
  const { node, known } = context;
  const found = known.diskOf(node.name, volume.pool, volume.name);
  if (found !== undefined) return found.metadata.namespace === namespace ? found : undefined;
  const pool = await poolObject(context, volume.pool);
  const spec: VirtualDiskSpec = {
    ...(pool.metadata.name === 'default' ? {} : { pool: pool.metadata.name }),
    source: { import: { volume: volume.name } },
    bindingMode: 'Immediate',
    ...(pool.spec.shared === true ? {} : { nodeName: node.name }),
    reclaimPolicy: 'Retain',
  };
  const disk: VirtualDisk = {
    apiVersion,
    kind: 'VirtualDisk',
    metadata: { namespace, name: known.freeName('VirtualDisk', namespace, wantedName, node.name) },
    spec,
  };
  context.add(disk);
  return disk;
}

function common(nodes: readonly AdoptingNode[], { active, autostart, overlay }: HostDocument) {
  const hosts = nodes.map(({ name, labels }) => labels[hostLabel] ?? name).sort();
  const [only = ''] = hosts;
  return {
    nodeSelector:
      hosts.length <= 1
        ? { matchLabels: { [hostLabel]: only } }
        : { matchExpressions: [{ key: hostLabel, operator: 'In' as const, values: hosts }] },
    ...(active ? {} : { active: false }),
    ...(autostart ? {} : { autostart: false }),
    ...(overlay.length === 0 ? {} : { overlay: overlay.map(({ at, xml, attributes }) => ({ at, xml, attributes })) }),
  };
}

function definition({ value }: HostDocument): DataObject {
  const others = foreignMetadata(value['metadata']);
  const { metadata: _, ...rest } = value;
  return {
    ...Object.fromEntries(Object.entries(rest).filter(([key]) => !measured.includes(key))),
    ...(others.length === 0 ? {} : { metadata: others }),
  };
}
