/**
 * How a snapshot is taken: which disks, and whether their old state stays inside of them or in files of its own. Pure.
 *
 * libvirt's rules, as of 9.0 (https://libvirt.org/formatsnapshot.html): a snapshot is wholly internal or wholly external;
 * internal ones need qcow2 for every disk that can be written to, no firmware with NVRAM in a file, and have the memory of
 * a running guest inside whether it is asked for or not. Ours: one machine has snapshots of one sort at a time, since an
 * internal snapshot of a file that others lie over cannot be reverted to without destroying them.
 */
import type { NvramState } from './not-kept.ts';
import { StorageProblem } from '../virtual-pool/storage-context.ts';

/** A disk of a domain, as far as snapshots have to know it. */
export interface SnapshotDisk {
  /** The device name, as `vda`. */
  readonly target: string;
  /** The name in spec.volumes; undefined for what spec.domain has. */
  readonly name: string | undefined;
  readonly path: string;
  readonly format: string;
  /** The VirtualDisk whose active file it is. */
  readonly virtualDisk: string | undefined;
  /** Cannot be written to, or has a removable medium: there is nothing to keep. */
  readonly isReadOnly: boolean;
  readonly isShareable: boolean;
  readonly isFile: boolean;
  readonly isEncrypted: boolean;
}

/** What is wanted of a snapshot, and of what. */
export interface ModeInput extends NvramState {
  readonly mode: 'Auto' | 'Internal' | 'External';
  readonly memory: boolean;
  readonly disks: readonly SnapshotDisk[];
  readonly perDisk: readonly {
    readonly name: string;
    readonly mode?: 'Internal' | 'External' | 'None' | undefined;
    readonly file?: string | undefined;
  }[];
  /** Whether disks that are not in `perDisk` are taken too, as libvirt's own XML means it. */
  readonly othersToo?: boolean;
  /** Whether it runs, or is paused. */
  readonly isRunning: boolean;
  /** The sort of the snapshots that the machine has. */
  readonly existing: 'Internal' | 'External' | undefined;
}

/** What is done. */
export interface ChosenMode {
  readonly mode: 'Internal' | 'External';
  /** Whether the memory is kept. */
  readonly memory: boolean;
  readonly disks: readonly (SnapshotDisk & {
    readonly mode: 'Internal' | 'External' | 'None';
    readonly file?: string | undefined;
  })[];
}

/**
 * Chooses.
 *
 * @throws StorageProblem NotSupported, which says what stands in the way.
 */
export function chooseMode(input: ModeInput): ChosenMode {
  const { disks, perDisk, isRunning, existing } = input;
  for (const { name, mode } of perDisk) {
    if (mode !== 'None' && !disks.some((disk) => isNamed(disk, name)))
      throw refusal(`spec.disks: there is no disk "${name}"`);
  }
  const asked = (disk: SnapshotDisk) => perDisk.find(({ name }) => isNamed(disk, name));
  const isLeftOut = (disk: SnapshotDisk): boolean => {
    const own = asked(disk);
    return (
      disk.isReadOnly || own?.mode === 'None' || (perDisk.length > 0 && own === undefined && input.othersToo !== true)
    );
  };
  const taken = disks.filter((disk) => !isLeftOut(disk));
  const leftOut = disks.filter((disk) => isLeftOut(disk) && !disk.isReadOnly);
  const memory = input.memory && isRunning;
  if (taken.length === 0 && !memory) throw refusal('there is no disk that can be kept');

  const notInternal = whyNotInternal(input, taken, leftOut);
  const notExternal = whyNotExternal(taken, memory ? leftOut : []);
  const sorts = new Set(taken.flatMap((disk) => asked(disk)?.mode ?? []));
  if (sorts.has('Internal') && sorts.has('External')) {
    throw refusal('libvirt keeps all disks of a snapshot in the same way: Internal or External');
  }
  const given = input.mode !== 'Auto' ? input.mode : [...sorts].find((one) => one !== 'None');
  const mode = given ?? automatic(input, memory, notInternal, notExternal);
  const problem = mode === 'Internal' ? notInternal : notExternal;
  if (problem !== undefined) {
    const other = mode === 'Internal' ? notExternal : notInternal;
    throw refusal(
      `a snapshot that is ${mode} is not possible: ${problem}${given !== undefined || other === undefined ? '' : `; nor one of the other sort: ${other}`}`,
    );
  }
  if (existing !== undefined && existing !== mode) {
    throw refusal(
      `the machine has snapshots that are ${existing}, and one that is ${mode} would make them useless; delete them first`,
    );
  }
  return {
    mode,
    memory: mode === 'Internal' ? isRunning : memory,
    disks: disks.map((disk) => ({
      ...disk,
      mode: isLeftOut(disk) ? 'None' : mode,
      ...(mode === 'External' ? { file: asked(disk)?.file } : {}),
    })),
  };
}

function automatic(
  { existing, isRunning, hasNvram }: ModeInput,
  memory: boolean,
  notInternal: string | undefined,
  notExternal: string | undefined,
): 'Internal' | 'External' {
  if (existing !== undefined) return existing;
  // With an internal one, which is possible while it is off, none could be taken any more while it runs.
  if (hasNvram && notExternal === undefined) return 'External';
  // Without memory a running guest need not stand still while an internal snapshot writes it.
  if (isRunning && !memory && notExternal === undefined) return 'External';
  if (notInternal === undefined) return 'Internal';
  return 'External';
}

function whyNotInternal(
  { hasNvram, hasFlash, isRunning }: ModeInput,
  taken: readonly SnapshotDisk[],
  leftOut: readonly SnapshotDisk[],
): string | undefined {
  const other = taken.find(({ format }) => format !== 'qcow2');
  if (other !== undefined) return `disk ${other.target} is ${other.format}, not qcow2`;
  if (hasFlash || (hasNvram && isRunning)) return "the firmware's NVRAM is a raw file";
  if (taken.length === 0) return 'there is no disk to put it in';
  if (leftOut[0] !== undefined) return `disk ${leftOut[0].target} cannot be left out of it`;
  return undefined;
}

function whyNotExternal(taken: readonly SnapshotDisk[], leftOut: readonly SnapshotDisk[]): string | undefined {
  for (const disk of taken) {
    if (!disk.isFile) return `disk ${disk.target} is no file, so that no other can take its place`;
    if (disk.isEncrypted) return `disk ${disk.target} is encrypted, and the new file would not be`;
    if (disk.isShareable) return `disk ${disk.target} is shared with others, which would not see the new file`;
    if (disk.virtualDisk === undefined) {
      const what = `disk ${disk.target} is no VirtualDisk, and its path cannot follow`;
      const next =
        disk.name === undefined
          ? 'make one of it with source.import.path, and name it in spec.volumes'
          : `use one for volume "${disk.name}" (an emptyDisk with a pool is one)`;
      return `${what}; ${next}, or leave it out with spec.disks`;
    }
  }
  if (leftOut[0] !== undefined) return `disk ${leftOut[0].target} would not fit the memory any more`;
  return undefined;
}

function isNamed(disk: SnapshotDisk, name: string): boolean {
  return disk.name === name || disk.target === name;
}

function refusal(message: string): StorageProblem {
  return new StorageProblem('NotSupported', message, { isFinal: true });
}
