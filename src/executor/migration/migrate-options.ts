import type { MigrationNotes } from './migration-notes.ts';
import type { VirtualMachineOperationSpec } from '../../api/virtual-machine-operation.ts';
import type { MigrateOptions } from '../../libvirt/objects/domain-job.ts';

/** What libvirt is asked for, from what was noted and the operation's `spec.migrate`; pure. */
export function migrateOptions(
  { disks = [], isOff }: Pick<MigrationNotes, 'disks' | 'isOff'>,
  migrate: VirtualMachineOperationSpec['migrate'] = {},
): MigrateOptions {
  if (isOff) return { offline: true, persistDest: true, undefineSource: true };
  const { copyStorage, postCopy, autoConverge, bandwidthMiBPerSecond, parallelConnections, compression } = migrate;
  const copied = disks.filter(({ copy }) => copy).map(({ target }) => target);
  return {
    live: true,
    persistDest: true,
    undefineSource: true,
    // The machine is nobody else's to change while it moves.
    changeProtection: true,
    ...(copied.length === 0
      ? {}
      : { ...(copyStorage === 'All' ? { nonSharedDisk: true } : { nonSharedInc: true }), disks: copied }),
    // libvirt takes only what it knows as a network's file system for shared; we know pools, and were told of the rest.
    unsafe: disks.some(({ copy, isMade }) => !copy && !isMade),
    ...(postCopy === true ? { postcopy: true } : {}),
    ...(autoConverge === true ? { autoConverge: true } : {}),
    ...(parallelConnections !== undefined && parallelConnections > 1
      ? { parallel: true, connections: parallelConnections }
      : {}),
    ...(compression === undefined ? {} : { compressed: true, compression: [compression] }),
    ...(bandwidthMiBPerSecond === undefined ? {} : { bandwidthMiB: bandwidthMiBPerSecond }),
  };
}
