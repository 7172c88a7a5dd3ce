/** What the files of this folder work with: where snapshots are stored, and what they are of. */
import type { LongWork } from './long-work.ts';
import type { FileHolds } from '../virtual-disk/file-holds.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualMachineSnapshot, VirtualMachineSnapshotStatus } from '../../api/virtual-machine-snapshot.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { Clock } from '../../base/clock.ts';
import { refOf } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import type { EventRecord } from '../../reconcile/event-recorder.ts';
import { setCondition } from '../../reconcile/conditions.ts';
import { mergePatchOf } from '../status-patch.ts';

/** See the head of this file. */
export interface SnapshotContext {
  readonly nodeName: string;
  /** Where memory is kept that is in no disk. */
  readonly folder: string;
  readonly snapshots: ResourceClient<VirtualMachineSnapshot>;
  readonly disks: ResourceClient<VirtualDisk>;
  readonly machines: ResourceClient<VirtualMachine>;
  readonly operations: ResourceClient<VirtualMachineOperation>;
  /** Names of a machine's snapshots as last seen; the machine by its key. */
  readonly namesOf: (machineKey: string) => readonly string[];
  /** Looks at a machine again, by its key. */
  readonly wake: (machineKey: string) => void;
  readonly record: (event: EventRecord) => void;
  readonly clock: Clock;
  readonly work: LongWork;
  /** Files that somebody works on. */
  readonly fileHolds: FileHolds;
}

/** A disk of a snapshot, as its status has it. */
export type SnapshotDiskStatus = NonNullable<VirtualMachineSnapshotStatus['disks']>[number];

/** What a step found out. */
export interface SnapshotNews {
  /** null removes a member. */
  readonly status?: {
    readonly [K in keyof VirtualMachineSnapshotStatus]?: VirtualMachineSnapshotStatus[K] | undefined;
  };
  readonly ready?: { readonly status: boolean; readonly reason: string; readonly message?: string | undefined };
  readonly progressing?: { readonly status: boolean; readonly reason: string; readonly message?: string | undefined };
}

/**
 * Writes what was found out, if anything is new. A member that is undefined in `news.status` is removed.
 *
 * @returns The object as it is now.
 */
export async function reportSnapshot(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  news: SnapshotNews,
  signal: AbortSignal,
): Promise<VirtualMachineSnapshot> {
  const nowMs = context.clock.now();
  const { generation, uid } = snapshot.metadata;
  const before = snapshot.status ?? {};
  let conditions = before.conditions;
  for (const [type, condition] of [
    ['Ready', news.ready],
    ['Progressing', news.progressing],
  ] as const) {
    if (condition === undefined) continue;
    const { status, reason, message } = condition;
    conditions = [
      ...setCondition(conditions, { type, status, reason, message, observedGeneration: generation }, nowMs),
    ];
  }
  const after = {
    ...before,
    ...news.status,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...(news.ready === undefined ? {} : { message: news.ready.message === '' ? undefined : news.ready.message }),
    conditions,
  };
  const patch = mergePatchOf(snapshot.status, after);
  if (patch === undefined) return snapshot;
  return context.snapshots.mergePatch(
    refOf(snapshot),
    { metadata: { uid }, status: patch },
    { subresource: 'status', signal },
  );
}

/** The keys of the machine that a snapshot is of: `namespace/name`. */
export function machineKeyOf(snapshot: VirtualMachineSnapshot): string {
  return `${snapshot.metadata.namespace ?? ''}/${snapshot.spec.virtualMachine}`;
}

/** Whether it was made, and is there. */
export function isMade({ status }: VirtualMachineSnapshot): boolean {
  return status?.creationTime !== undefined;
}
