import type { StorageContext } from '../virtual-pool/storage-context.ts';
import type { DiskMove, VirtualDisk } from '../../api/virtual-disk.ts';
import { refOf } from '../../kube/object.ts';
import { isConflict, isNotFound } from '../../kube/status-error.ts';

/** A Hypervisor that was deleted while its executor runs is made anew by that; for so long it may be away, in milliseconds. */
const goneMs = 60_000;

/**
 * Second volumes (second-volume.ts) of disks whose node is no more: nobody is left to remove the volume and to take the note
 * away, and without that the disk is never copied again. The node that has the disk does it, once the Hypervisor was away for
 * a minute and the migration is over.
 */
export class LostSecondVolumes {
  readonly #context: StorageContext;
  /** Nodes that were not there, and since when, in milliseconds since 1970. */
  readonly #goneSince = new Map<string, number>();

  constructor(context: StorageContext) {
    this.#context = context;
  }

  /**
   * Looks at a disk that this node has.
   *
   * @returns In how many milliseconds to look again; undefined when nothing is to be done.
   */
  async forget(disk: VirtualDisk, signal: AbortSignal): Promise<number | undefined> {
    const { clock, disks, hypervisors, nodeName, record } = this.#context;
    const move = disk.status?.move;
    if (move === undefined || move.nodeName === nodeName) return undefined;
    if (this.#context.nodes().some(({ name }) => name === move.nodeName)) {
      this.#goneSince.delete(move.nodeName);
      return undefined;
    }
    const since = this.#goneSince.get(move.nodeName) ?? clock.now();
    this.#goneSince.set(move.nodeName, since);
    const leftMs = since + goneMs - clock.now();
    if (leftMs > 0) return leftMs;
    // The cache may be behind, and what was said of the migration is older than what is said now.
    if ((await hypervisors.find({ name: move.nodeName }, { signal })) !== undefined) return goneMs;
    if (await this.#mayBeNeeded(disk, move, signal)) return goneMs;
    const { uid, resourceVersion } = disk.metadata;
    const patch = { metadata: { uid, resourceVersion }, status: { move: null } };
    try {
      await disks.mergePatch(refOf(disk), patch, { subresource: 'status', signal });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      if (isConflict(error)) return 0;
      throw error;
    }
    const note = `its second volume ${move.path} went with the node ${move.nodeName}, which is no more`;
    record({ regarding: disk, type: 'Normal', reason: 'SecondVolumeLost', action: 'Migrate', note });
    return undefined;
  }

  /** Whether the migration that the volume was made for may still come to its end, or has the guest there. */
  async #mayBeNeeded({ metadata }: VirtualDisk, move: DiskMove, signal: AbortSignal): Promise<boolean> {
    const { machines, operations, usersOf } = this.#context;
    const { namespace = '', name = '' } = metadata;
    const operation = await operations.find({ namespace, name: move.operation }, { signal });
    if (operation?.metadata.uid === move.operationUid) {
      const phase = operation.status?.phase;
      return phase !== 'Failed' && (phase !== 'Succeeded' || move.state === 'Copying');
    }
    for (const { name: user } of usersOf('VirtualDisk', namespace, name)) {
      const { migration } = (await machines.find({ namespace, name: user }, { signal }))?.status ?? {};
      if (migration?.phase === 'Running' && migration.targetNode === move.nodeName) return true;
    }
    return false;
  }
}
