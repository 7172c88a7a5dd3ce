import { describe, expect, it } from 'vitest';
import * as constants from '../../src/libvirt/constants.gen.ts';
import { domainFlagTables } from '../../src/libvirt/objects/domain-flags.ts';
import { statsGroups } from '../../src/libvirt/objects/domain-stats.ts';
import { flagBits, affectFlags, type FlagTable } from '../../src/libvirt/objects/flags.ts';
import { listNetworksFlags } from '../../src/libvirt/objects/networks.ts';
import { listNodeDevicesFlags } from '../../src/libvirt/objects/node-devices.ts';
import { listPoolsFlags, poolBuildFlags, poolCreateFlags, volumeCreateFlags } from '../../src/libvirt/objects/pools.ts';
import { listSecretsFlags } from '../../src/libvirt/objects/secrets.ts';
import { volumeDeleteFlags, volumeResizeFlags } from '../../src/libvirt/objects/volume.ts';

const tables: Readonly<Record<string, FlagTable>> = {
  ...domainFlagTables,
  DomainModificationImpact: affectFlags,
  ConnectListAllNetworksFlags: listNetworksFlags,
  ConnectListAllNodeDeviceFlags: listNodeDevicesFlags,
  ConnectListAllStoragePoolsFlags: listPoolsFlags,
  ConnectListAllSecretsFlags: listSecretsFlags,
  StoragePoolBuildFlags: poolBuildFlags,
  StoragePoolCreateFlags: poolCreateFlags,
  StorageVolCreateFlags: volumeCreateFlags,
  StorageVolDeleteFlags: volumeDeleteFlags,
  StorageVolResizeFlags: volumeResizeFlags,
};

/** Enumerations whose first members libvirt defines by another's. */
const aliases: Readonly<Record<string, string>> = {
  ConnectGetAllDomainStatsFlags: 'ConnectListAllDomainsFlags',
  DomainDeviceModifyFlags: 'DomainModificationImpact',
  DomainVcpuFlags: 'DomainModificationImpact',
  DomainMemoryModFlags: 'DomainModificationImpact',
};

/** What libvirt calls an option: `noAutostart` is `…NO_AUTOSTART`. */
const libvirtName = (option: string): string => option.replaceAll(/[A-Z]/g, '_$&').toUpperCase();
/** `PEER2PEER` and `peer2peer`: the same letters. */
const letters = (name: string): string => name.replaceAll('_', '');

describe('flags as options', () => {
  for (const [enumeration, table] of Object.entries(tables)) {
    it(`have the bits of libvirt's ${enumeration}`, () => {
      const enumerations = constants as Readonly<Record<string, object>>;
      const own = Object.entries(enumerations[enumeration] ?? {});
      expect(own.length).toBeGreaterThan(0);
      const known = [...own, ...Object.entries(enumerations[aliases[enumeration] ?? ''] ?? {})];
      for (const [option, bit] of Object.entries(table)) {
        const found = known.find(
          ([name]) => letters(name).endsWith(letters(libvirtName(option))) && !isOther(name, option, table),
        );
        // Later than the constants' libvirt.
        if (found === undefined && later.has(`${enumeration}.${option}`)) continue;
        expect(found, option).toBeDefined();
        expect(Number(found?.[1]) >>> 0, option).toBe(bit >>> 0);
      }
    });
  }

  it('have the bits of the groups of statistics', () => {
    const known = Object.values(constants.DomainStatsTypes);
    expect(Object.values(statsGroups)).toEqual(known.sort((a, b) => a - b));
  });

  it('are joined, also the highest', () => {
    expect(flagBits({ a: 1, b: 0x8000_0000 }, { a: true, b: true })).toBe(0x8000_0001);
    expect(flagBits({ a: 1, b: 2 }, { a: false })).toBe(0);
  });
});

/** Flags that libvirt got after the release that the constants are of. */
const later = new Set(['DomainGuestInfoTypes.load']);

/** `NO_AUTOSTART` ends with AUTOSTART too, but belongs to another option of the table. */
function isOther(name: string, option: string, table: FlagTable): boolean {
  return Object.keys(table).some(
    (other) => other.length > option.length && letters(name).endsWith(letters(libvirtName(other))),
  );
}
