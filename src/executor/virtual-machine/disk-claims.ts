/**
 * A VirtualDisk is written to by one machine at a time, unless all who use it say `shareable`. Looked at before a machine
 * starts or is given a disk; of two that start at the same moment, QEMU's lock on the image lets one.
 */
import { diskUseOf, useIn, type DiskUse } from './disk-use.ts';
import { NotReadyError } from './not-ready-error.ts';
import type { Round } from './round.ts';
import { diskOfVolume } from '../../api/empty-disk.ts';
import type { PrintableStatus } from '../../api/virtual-machine.ts';

/** A machine that names a disk. */
export interface DiskUser {
  readonly name: string;
  /** Where it is; empty when it is not placed yet. */
  readonly nodeName: string;
  /** Its domain's name. */
  readonly domain: string;
  /** The UUID of its domain, which may have another name by now. */
  readonly uuid: string;
}

/** Words of a machine on another node that certainly has no disk open; anything else may. */
const off: ReadonlySet<string> = new Set<PrintableStatus>([
  ...(['Stopped', 'Pending', 'Provisioning', 'WaitingForVolumeBinding', 'ErrorUnschedulable'] as const),
  ...(['ErrorVolume', 'ErrorNetwork', 'CrashLoopBackOff', 'Completed'] as const),
]);

/**
 * Refuses a disk that another machine has open.
 *
 * @throws NotReadyError that names the machine, and what would help.
 */
export async function refuseOtherWriters(round: Round): Promise<void> {
  const { status, parts, view } = round;
  const { namespace = '', name: ownName } = status.machine.metadata;
  for (const entry of status.machine.spec.volumes ?? []) {
    const volume = entry.name;
    const virtualDisk = diskOfVolume(status.machine, entry);
    const resolved = round.volumes.find((one) => one.name === volume);
    if (virtualDisk === undefined || resolved?.path === undefined) continue;
    const others = parts.diskUsers(namespace, virtualDisk).filter(({ name }) => name !== ownName);
    // What it has already is not taken from it.
    if (others.length === 0 || (view?.live !== undefined && useIn(view.live, resolved.path) !== undefined)) continue;
    const own: DiskUse = {
      readOnly: resolved.disk['readonly'] !== undefined,
      shareable: resolved.disk['shareable'] !== undefined,
    };
    for (const other of others) {
      const use = await useOf(round, other, virtualDisk, resolved.path);
      if (use === undefined || (own.readOnly && use.readOnly) || (own.shareable && use.shareable)) continue;
      const where = other.nodeName === parts.nodeName ? '' : ` on node ${other.nodeName}`;
      throw new NotReadyError(
        'VolumeNotReady',
        'Provisioning',
        `volume ${volume}: VirtualDisk "${virtualDisk}" is in use by VirtualMachine "${other.name}"${where}; it waits until ` +
          'that is off or gives it back (two machines may only share a disk that is readOnly or shareable in both)',
      );
    }
  }
}

/** How another machine has the disk open; undefined when it has not. */
async function useOf(round: Round, other: DiskUser, disk: string, path: string): Promise<DiskUse | undefined> {
  const { parts, libvirt, options, signal, status } = round;
  if (other.nodeName === '') return undefined;
  if (other.nodeName === parts.nodeName) return diskUseOf(libvirt, other, path, options);
  const machine = await parts.machines.find(
    { namespace: status.machine.metadata.namespace, name: other.name },
    { signal },
  );
  const word = machine?.status?.printableStatus;
  if (machine === undefined || word === undefined || off.has(word)) return undefined;
  // What is in the way is told by its spec: its node is not ours to ask.
  const volume = machine.spec.volumes?.find((one) => diskOfVolume(machine, one) === disk);
  return { readOnly: volume?.readOnly === true, shareable: volume?.shareable === true };
}
