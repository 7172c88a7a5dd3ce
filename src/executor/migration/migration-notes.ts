/**
 * Live migration of a machine to another node: the operation Migrate. Two executors and the scheduler take part, and talk
 * through the operation's status only; each writes keys of its own into `status.context`, so nobody undoes another's note.
 *
 *   step        source (owns the machine: spec.nodeName)          target                        keys written
 *   ----------  ------------------------------------------------  ----------------------------  ---------------------------
 *   Preparing   says what the guest has (disks, networks)         –                             source, disks, networks
 *               [the scheduler reserves room on a node: the one given, or the best]             target | refusal
 *               waits                                             makes files, looks whether     destination, made | refusal
 *                                                                 all is there
 *   Migrating   libvirt moves the guest, peer to peer             –                             begun, failure, moved
 *   Switching   asks where the guest is                           looks, and says so            asked; answer
 *               status.nodeName of disks that were copied
 *               status.nodeName, then spec.nodeName               has the machine
 *   Failed      keeps the guest                                   removes what is left          holder; cleaned
 *
 * VirtualDisks of a node's own pool go along when the operation says so. The target makes their volumes, each noted in its
 * disk's status first (`move`); the source gives the disk away after its domain is gone here and the target said that it has
 * the guest, in one write that turns the note round: from there on it is the source's volume that has to go, and it goes when
 * the operation is over. Whatever is killed, the note says who removes which volume (../virtual-disk/second-volume.ts).
 *
 * Of two copies at most one ever executes: libvirt lets the target's CPUs run only after the source's stopped for good,
 * and where its outcome is not known the source asks the target before it lets its own copy go on or removes it. Nobody
 * concludes anything from silence while the source's copy is paused or gone. spec.nodeName changes only in Switching, by
 * the source, after the target said that it has the guest; each write of it is the same however often it is repeated.
 *
 * A machine that is off moves as its definition alone (VIR_MIGRATE_OFFLINE), when all its disks are there already: libvirt
 * defines it at the target before it undefines it at the source, and the source asks the target all the same. Should both
 * have it, the target's counts if the target says so, else it is removed there.
 *
 * A finalizer keeps the operation: deleting it is how a migration is called off.
 *
 *   migration-disks.ts      which disks are copied, pure            migrate-machine.ts    the source's steps
 *   local-disks.ts          VirtualDisks: what stands against it,   receive-disks.ts      the target's volumes for them
 *                           and how they are given away
 *   receive-files.ts        the target's files of the host
 *   running-migrations.ts   calls to libvirt that take long         receive-machine.ts    the target's part
 *   follow-migration.ts     called by the machine's reconcile; nothing else is done to a machine that moves
 *   where-guest-is.ts       what to do when libvirt is done, pure   arrival.ts            what the target says
 *   lost-operation.ts       one whose operation was removed by force
 *   tell-migration.ts       status.migration of the machine
 */
import type { VirtualMachineStatus } from '../../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';

/** What keeps an operation Migrate until both sides know how it ended. */
export const migrationFinalizer = 'virtctl.dev/migration';

/** Where a guest is, as the target says; `running` also when it has gone on there and ended since. */
export type Arrival = 'running' | 'off' | 'none';

/** What is noted of a disk. */
export interface MovedDisk {
  /** As `vda`. */
  readonly target: string;
  /** Its file on both sides. */
  readonly path: string;
  readonly format: string;
  /** Whether its content is sent. */
  readonly copy: boolean;
  /** Whether the target's executor makes it from the volume's definition (media.ts). */
  readonly isMade: boolean;
  /** The VirtualDisk whose volume is copied, and changes its node. */
  readonly disk?: string | undefined;
  /** What a file must have that it is copied to, in bytes. */
  readonly bytes?: number | undefined;
}

/** `status.context` of an operation Migrate. */
export interface MigrationNotes {
  readonly source: string | undefined;
  readonly target: string | undefined;
  readonly disks: readonly MovedDisk[] | undefined;
  readonly networks: readonly string[];
  /** How the source's libvirtd reaches the target's. */
  readonly destination: string | undefined;
  /** Files that the target made, and removes again when it fails. */
  readonly made: readonly string[];
  /** Why the target does not take it. */
  readonly refusal: string | undefined;
  /** Whether the machine was off when it was asked: only its definition moves. */
  readonly isOff: boolean;
  readonly hasBegun: boolean;
  /** Whether libvirt said here that the guest had moved. */
  readonly hasMoved: boolean;
  readonly failure: string | undefined;
  /** The question that is to be answered. */
  readonly asked: string | undefined;
  /** The answer to that question, not to an older one. */
  readonly answer: Arrival | undefined;
  /** Whether the source has the guest, and a copy on the target is nobody's. */
  readonly isHeld: boolean;
  readonly isCleaned: boolean;
}

/** Reads what was noted. */
export function migrationNotes({ status }: VirtualMachineOperation): MigrationNotes {
  const notes: Readonly<Record<string, string | undefined>> = status?.context ?? {};
  const { source, target, disks, networks, destination, refusal, failure, asked, made } = notes;
  return {
    ...{ source, target, destination, refusal, failure, asked },
    disks: disks === undefined ? undefined : (JSON.parse(disks) as MovedDisk[]),
    networks: networks === undefined ? [] : (JSON.parse(networks) as string[]),
    made: made === undefined ? [] : (JSON.parse(made) as string[]),
    isOff: notes['off'] !== undefined,
    hasBegun: notes['begun'] !== undefined,
    hasMoved: notes['moved'] !== undefined,
    answer: answerIn({ asked, answer: notes['answer'] }),
    isHeld: notes['holder'] === 'source',
    isCleaned: notes['cleaned'] !== undefined,
  };
}

/** The operation of a migration that failed waits so long for its target to have removed what is left, in milliseconds. */
const cleanMs = 10 * 60_000;

/**
 * Whether the source may let the operation of a migration that is over go: it alone says what the target has to remove. A
 * target that is away is waited for, but not for ever.
 */
export function mayGo(operation: VirtualMachineOperation, nowMs: number): boolean {
  const { phase, completionTime = '' } = operation.status ?? {};
  const { target, destination, made, isCleaned } = migrationNotes(operation);
  const hasMade = destination !== undefined || made.length > 0;
  if (phase !== 'Failed' || target === undefined || isCleaned || !hasMade) return true;
  return !(nowMs - Date.parse(completionTime) <= cleanMs);
}

/** The answer to the question that was asked last; undefined when there is none, or it is to an older one. */
export function answerIn(notes: {
  readonly asked?: string | undefined;
  readonly answer?: string | undefined;
}): Arrival | undefined {
  const [question, word] = notes.answer?.split(' ') ?? [];
  return notes.asked !== undefined && question === notes.asked ? (word as Arrival) : undefined;
}

/** The answer to a question, as it is noted. */
export function answerTo(asked: string, arrival: Arrival): { readonly answer: string } {
  return { answer: `${asked} ${arrival}` };
}

/** `status.migration` of a machine. */
export type Migration = NonNullable<VirtualMachineStatus['migration']>;

/** Whether a machine's status says that its guest may be on its way from this node, or be elsewhere already. */
export function mayBeAway(
  migration: Migration,
  nodeName: string,
): migration is Migration & { readonly targetNode: string } {
  const { phase, sourceNode, targetNode } = migration;
  return phase === 'Running' && sourceNode === nodeName && targetNode !== undefined;
}

/** Whether a machine's source waits for a node to say whether the guest is there, its operation being gone. */
export function isAskedOf(migration: Migration | undefined, nodeName: string): boolean {
  if (migration?.phase !== 'Running' || migration.targetNode !== nodeName) return false;
  return migration.asked !== undefined && answerIn(migration) === undefined;
}
