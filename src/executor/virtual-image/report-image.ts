/** What a step found out about an image, written into its status. */
import { mergePatchOf } from '../status-patch.ts';
import { tellChange } from '../virtual-pool/tell-change.ts';
import type { StorageContext, StorageProblem } from '../virtual-pool/storage-context.ts';
import type { VirtualImage, VirtualImageStatus } from '../../api/virtual-image.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { refOf } from '../../kube/object.ts';
import { setCondition } from '../../reconcile/conditions.ts';
import { isBeingDeleted } from '../../reconcile/finalizers.ts';

/** An image on one node. */
export type NodeLine = NonNullable<VirtualImageStatus['nodes']>[number];

/** What a step found out. */
export interface ImageNews {
  readonly problem?: StorageProblem;
  readonly message?: string;
  readonly facts?: Partial<VirtualImageStatus>;
  /** The line that goes. */
  readonly gone?: string;
}

/** Writes status: the line of this node, and what follows from all lines; @returns the object as it is now. */
export async function reportImage(
  context: StorageContext,
  image: VirtualImage,
  line: NodeLine | undefined,
  news: ImageNews,
  signal: AbortSignal,
): Promise<VirtualImage> {
  const nowMs = context.clock.now();
  const before = image.status ?? {};
  const lineName = line?.nodeName ?? news.gone ?? '';
  const others = (before.nodes ?? []).filter((one) => one.nodeName !== lineName);
  const dated = line === undefined ? [] : [{ ...line, lastUpdateTime: toKubernetesTime(nowMs) }];
  const nodes = [...others, ...dated].sort((a, b) => (a.nodeName < b.nodeName ? -1 : 1));
  const ready = nodes.filter(({ phase }) => phase === 'Ready');
  const isReady = ready.length > 0 && ready.length === nodes.length;
  const order = ['Failed', 'Pending', 'WaitForUpload', 'Downloading', 'Converting', 'Ready'];
  const furthest = [...nodes].sort((a, b) => order.indexOf(b.phase ?? '') - order.indexOf(a.phase ?? ''))[0];
  const generation = image.metadata.generation;
  const message = news.problem?.message ?? news.message ?? nodes.find((one) => one.message !== undefined)?.message;
  const after = {
    ...before,
    ...news.facts,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase: isBeingDeleted(image) ? 'Deleting' : (furthest?.phase ?? 'Pending'),
    progress: furthest?.progress,
    nodes,
    usedBy: usersOfImage(context, image),
    message,
    conditions: setCondition(
      before.conditions,
      {
        type: 'Ready',
        status: isReady,
        reason: isReady ? 'Available' : (news.problem?.reason ?? furthest?.phase ?? 'Pending'),
        message: isReady ? '' : message,
        observedGeneration: generation,
      },
      nowMs,
    ),
  };
  const patch = mergePatchOf(image.status, after);
  if (patch === undefined) return image;
  const { resourceVersion, uid } = image.metadata;
  const written = await context.images.mergePatch(
    refOf(image),
    { metadata: { resourceVersion, uid }, status: patch },
    { subresource: 'status', signal },
  );
  tellChange(context, image, before.conditions, after.conditions);
  return written;
}

/** Machines that name it, and disks that lie over it. */
export function usersOfImage(context: StorageContext, image: VirtualImage): { kind: string; name: string }[] {
  const { namespace = '', name = '' } = image.metadata;
  const paths = new Set((image.status?.nodes ?? []).flatMap(({ path }) => (path === undefined ? [] : [path])));
  const machines = context.usersOf('VirtualImage', namespace, name);
  const disks = context
    .knownDisks()
    .filter(({ status }) => status?.backingChain?.some((path) => paths.has(path)) === true);
  return [
    ...machines.map((one) => ({ kind: 'VirtualMachine', name: one.name })),
    ...disks.map(({ metadata }) => ({ kind: 'VirtualDisk', name: metadata.name ?? '' })),
  ];
}
