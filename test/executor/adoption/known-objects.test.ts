import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { emptyDiskObject } from '../../../src/api/empty-disk.ts';
import type { VirtualDisk } from '../../../src/api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../../src/api/virtual-machine-snapshot.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { KnownObjects } from '../../../src/executor/adoption/known-objects.ts';

const uuid = '11111111-1111-4111-8111-111111111111';
const validName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** The object of a snapshot. */
function snapshot(namespace: string, name: string, virtualMachine: string, atLibvirt: string): VirtualMachineSnapshot {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: { namespace, name },
    spec: { virtualMachine },
    status: { name: atLibvirt },
  };
}

describe('the name of the object of a snapshot', () => {
  it('is its own, valid and always the same, whatever others are called', () => {
    const machine = fc.constantFrom('web', 'mail', 'w'.repeat(253));
    const name = fc.oneof(
      fc.constantFrom('first', 'First', 'web-first', 'mail-first', 'web-first-11111111', `${'a.'.repeat(126)}b`),
      fc.string({ maxLength: 300 }),
    );
    const wanted = fc.uniqueArray(fc.tuple(machine, name), { maxLength: 20, selector: ([a, b]) => `${a}/${b}` });
    fc.assert(
      fc.property(wanted, (all) => {
        const known = new KnownObjects([], [], [], [], []);
        const names = all.map(([of, atLibvirt]) => {
          const chosen = known.snapshotName({ namespace: 'shop', name: of }, uuid, atLibvirt);
          known.add(snapshot('shop', chosen, of, atLibvirt));
          return chosen;
        });
        expect(new Set(names).size).toBe(all.length);
        for (const one of names) expect(one.length <= 253 && validName.test(one)).toBe(true);
        const again = all.map(([of, atLibvirt]) =>
          known.snapshotName({ namespace: 'shop', name: of }, uuid, atLibvirt),
        );
        expect(again).toEqual(names);
      }),
    );
  });

  it('is the one at libvirt where only other namespaces have it', () => {
    const known = new KnownObjects([], [], [], [], [snapshot('office', 'first', 'mail', 'first')]);
    expect(known.snapshotName({ namespace: 'shop', name: 'web' }, uuid, 'first')).toBe('first');
  });
});

describe('the empty disks of a machine that was recovered', () => {
  const machine: VirtualMachine = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { namespace: 'shop', name: 'web', uid: 'u-1' },
    spec: {
      volumes: [
        { name: 'scratch', emptyDisk: { capacity: '1Gi', pool: 'fast' } },
        { name: 'data', virtualDisk: 'web-data' },
      ],
    },
  };
  const [scratch] = machine.spec.volumes ?? [];
  if (scratch === undefined) throw new Error('no volume');
  const owned = emptyDiskObject(machine, scratch);
  const { ownerReferences: _, ...metadata } = owned.metadata;
  const lost: VirtualDisk = { ...owned, metadata };

  it('are still to become its own where nothing owns them', () => {
    expect(new KnownObjects([], [lost], [], [], []).unclaimedEmptyDisks(machine)).toEqual([lost]);
  });

  it.each([
    ['that it owns already', owned],
    ['that a user made', { ...lost, metadata: { namespace: 'shop', name: 'web-data' } }],
    ['of another namespace', { ...lost, metadata: { ...metadata, namespace: 'other' } }],
    ['of another machine', { ...lost, metadata: { ...metadata, name: 'mail-scratch' } }],
  ])('are none %s', (_title, disk) => {
    expect(new KnownObjects([], [disk], [], [], []).unclaimedEmptyDisks(machine)).toEqual([]);
  });
});
