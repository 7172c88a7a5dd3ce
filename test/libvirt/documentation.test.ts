import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { watchedKinds } from '../../src/libvirt/decode-event.ts';
import { Libvirt } from '../../src/libvirt/libvirt.ts';
import { Connection } from '../../src/libvirt/connection.ts';
import { Domain } from '../../src/libvirt/objects/domain.ts';
import { Network } from '../../src/libvirt/objects/networks.ts';
import { NodeDevice } from '../../src/libvirt/objects/node-devices.ts';
import { NwFilter } from '../../src/libvirt/objects/nwfilters.ts';
import { Pool } from '../../src/libvirt/objects/pools.ts';
import { Secret } from '../../src/libvirt/objects/secrets.ts';
import { Checkpoint } from '../../src/libvirt/objects/domain-checkpoints.ts';
import { Snapshot } from '../../src/libvirt/objects/domain-snapshots.ts';
import { Volume } from '../../src/libvirt/objects/volume.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/libvirt-rpc.md'), 'utf8');
// Nobody is at the other end: only the methods are looked at.
const connection = new Connection(new PassThrough());
const libvirt = new Libvirt(connection);
const domain = new Domain(connection, { name: 'web', uuid: new Uint8Array(16), id: -1 });

const methodsOf = (object: object): string[] =>
  Object.entries(Object.getOwnPropertyDescriptors(object))
    .filter(([name, { value }]) => name !== 'constructor' && typeof value === 'function')
    .map(([name]) => name);

/** The words in back quotes of the table's row that begins with this one. */
const rowOf = (first: string): string[] => {
  const row = page.split('\n').find((line) => line.startsWith(`| \`${first}\``));
  return [...(row ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
};

describe('the page on libvirt from TypeScript', () => {
  const rows: Readonly<Record<string, readonly object[]>> = {
    'libvirt.domains': [libvirt.domains],
    Domain: [domain],
    'domain.blocks': [domain.blocks],
    'domain.snapshots': [domain.snapshots, Snapshot.prototype],
    'domain.checkpoints': [domain.checkpoints, Checkpoint.prototype],
    'domain.job': [domain.job],
    'domain.guest': [domain.guest],
    'libvirt.networks': [libvirt.networks, Network.prototype],
    'libvirt.pools': [libvirt.pools],
    Pool: [Pool.prototype],
    Volume: [Volume.prototype],
    'libvirt.secrets': [libvirt.secrets, Secret.prototype],
    'libvirt.nodeDevices': [libvirt.nodeDevices, NodeDevice.prototype],
    'libvirt.nwfilters': [libvirt.nwfilters, NwFilter.prototype],
    'libvirt.node': [libvirt.node],
  };

  for (const [first, objects] of Object.entries(rows)) {
    it(`names every method of ${first}`, () => {
      const methods = objects.flatMap((object) => {
        const prototype: unknown = Object.hasOwn(object, 'constructor') ? object : Object.getPrototypeOf(object);
        return methodsOf(prototype as object);
      });
      expect(methods.length).toBeGreaterThan(0);
      const named = rowOf(first);
      expect(methods.filter((method) => !named.includes(method))).toEqual([]);
    });
  }

  it('names every kind of event', () => {
    for (const kind of watchedKinds) expect(page).toContain(`\`${kind.split('.')[1] ?? ''}\``);
  });
});
