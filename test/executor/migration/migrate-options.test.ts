import { describe, expect, it } from 'vitest';
import { migrateOptions } from '../../../src/executor/migration/migrate-options.ts';
import type { MovedDisk } from '../../../src/executor/migration/migration-notes.ts';
import { migrateFlags } from '../../../src/libvirt/objects/domain-flags.ts';
import { flagBits } from '../../../src/libvirt/objects/flags.ts';

const disk = (target: string, copy: boolean, isMade: boolean): MovedDisk => ({
  ...{ target, copy, isMade },
  path: `/pool/${target}`,
  format: 'qcow2',
});
const none = { disks: [], isOff: false };
/** VIR_MIGRATE_LIVE, PERSIST_DEST, UNDEFINE_SOURCE, CHANGE_PROTECTION. */
const usual = 1 | 8 | 16 | 256;

describe('what libvirt is asked for to move a guest', () => {
  it.each([
    ['nothing', {}, usual, {}],
    ['post-copy', { postCopy: true }, usual | 32768, {}],
    ['auto-converge', { autoConverge: true }, usual | 8192, {}],
    ['a bandwidth', { bandwidthMiBPerSecond: 7 }, usual, { bandwidthMiB: 7 }],
    ['several connections', { parallelConnections: 4 }, usual | 131072, { connections: 4 }],
    ['one connection', { parallelConnections: 1 }, usual, {}],
    ['compression', { compression: 'zstd' as const }, usual | 2048, { compression: ['zstd'] }],
  ])('for %s', (_what, migrate, flags, parameters) => {
    const options = migrateOptions(none, migrate);
    expect(flagBits(migrateFlags, options)).toBe(flags);
    expect(options).toMatchObject(parameters);
  });

  it('copies what is to be copied, whole or as far as it differs', () => {
    const notes = { disks: [disk('vda', true, false), disk('sda', false, true)], isOff: false };
    expect(migrateOptions(notes)).toMatchObject({ nonSharedInc: true, disks: ['vda'], unsafe: false });
    expect(migrateOptions(notes, { copyStorage: 'All' })).toMatchObject({ nonSharedDisk: true, disks: ['vda'] });
  });

  it('says that disks are safe which are known to be shared', () => {
    expect(migrateOptions({ disks: [disk('vda', false, false)], isOff: false })).toMatchObject({ unsafe: true });
  });

  it('moves only the definition of a machine that is off', () => {
    const options = migrateOptions({ disks: [disk('vda', false, false)], isOff: true }, { autoConverge: true });
    // VIR_MIGRATE_OFFLINE, PERSIST_DEST, UNDEFINE_SOURCE.
    expect(flagBits(migrateFlags, options)).toBe(1024 | 8 | 16);
  });
});
