import type { MachineMark } from '../virtual-machine/domain-metadata.ts';
import { devicesOf } from '../virtual-machine/domain-view.ts';
import { isList, memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import type { Volume } from '../../api/virtual-machine.ts';

/** An entry of spec.volumes with the disk that it became. */
export interface MachineVolume {
  readonly entry: Volume;
  /** As the executor asked for it; undefined where the mark does not tell. */
  readonly disk: DataObject | undefined;
  /** Where it is, as the definition says; undefined where that has no such disk. */
  readonly path: string | undefined;
  /** Its device in the guest, as `vda`; empty where it is not known. */
  readonly target: string;
}

/**
 * Finds each volume's disk. Pure.
 *
 * @param mark What the definition was made from.
 * @param definition The domain that has the mark, or one that was defined from it.
 */
export function machineVolumes(
  volumes: readonly Volume[],
  mark: Pick<MachineMark, 'spec' | 'applied'>,
  definition: DataObject,
): MachineVolume[] {
  const applied = devicesOf(mark.applied, 'disk');
  const inSpec = memberAt(mark.spec, 'domain', 'devices', 'disk');
  const before = isList(inSpec) ? inSpec.length : 0;
  const isComplete = applied.length === before + volumes.length;
  return volumes.map((entry, index): MachineVolume => {
    const target = entry.target?.dev;
    const disk = isComplete
      ? applied[before + index]
      : applied.find((one) => target !== undefined && memberAt(one, 'target', 'dev') === target);
    const now = devicesOf(definition, 'disk').find(
      (one) => textOf(memberAt(one, 'target', 'dev')) === textOf(memberAt(disk, 'target', 'dev')),
    );
    return { entry, disk, path: pathOf(now ?? disk), target: textOf(memberAt(now ?? disk, 'target', 'dev')) };
  });
}

function pathOf(disk: DataObject | undefined): string | undefined {
  const text = textOf(memberAt(disk, 'source', 'file') ?? memberAt(disk, 'source', 'dev'));
  return text === '' ? undefined : text;
}
