/** What a step found out about an image, written into its status. */
import { mergePatchOf } from '../status-patch.ts';
import { namesOf } from '../virtual-pool/names-of.ts';
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
  /** What deleting it waits for. */
  readonly waitsFor?: readonly string[];
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
  const old = before.nodes?.find((one) => one.nodeName === lineName);
  const isSame = old !== undefined && line !== undefined && mergePatchOf(undated(old), undated(line)) === undefined;
  const now = { lastUpdateTime: toKubernetesTime(nowMs) };
  const dated = isSame ? [old] : line === undefined ? [] : [{ ...line, ...now }];
  const nodes = [...others, ...dated].sort((a, b) => (a.nodeName < b.nodeName ? -1 : 1));
  // With a message: its deletion is held up.
  const ready = nodes.filter((one) => one.phase === 'Ready' && one.message === undefined);
  const isReady = ready.length > 0 && ready.length === nodes.length;
  const order = ['Failed', 'Pending', 'WaitForUpload', 'Downloading', 'Converting', 'Ready'];
  const furthest = [...nodes].sort((a, b) => order.indexOf(b.phase ?? '') - order.indexOf(a.phase ?? ''))[0];
  const generation = image.metadata.generation;
  const waits = news.waitsFor ?? [];
  const waitsMessage = waits.length > 0 ? `deletion waits for ${namesOf(waits)}` : '';
  const message =
    waitsMessage !== ''
      ? waitsMessage
      : (news.message ?? news.problem?.message ?? nodes.find((one) => one.message !== undefined)?.message);
  const onItsWay = isBeingDeleted(image) ? 'Deleting' : (furthest?.phase ?? 'Pending');
  let conditions = setCondition(
    before.conditions,
    {
      type: 'Ready',
      status: isReady,
      reason: isReady ? 'Available' : (news.problem?.reason ?? onItsWay),
      message: isReady ? '' : message,
      observedGeneration: generation,
    },
    nowMs,
  );
  if (waits.length > 0 || conditions.some(({ type }) => type === 'InUse')) {
    conditions = setCondition(
      conditions,
      {
        type: 'InUse',
        status: waits.length > 0,
        reason: waits.length > 0 ? 'InUse' : 'NotInUse',
        message: waitsMessage,
        observedGeneration: generation,
      },
      nowMs,
    );
  }
  const after = {
    ...before,
    ...news.facts,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase: onItsWay,
    progress: furthest?.progress,
    nodes,
    usedBy: usersOfImage(context, image),
    message,
    conditions,
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

function undated(line: NodeLine): NodeLine {
  return { ...line, lastUpdateTime: undefined };
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
