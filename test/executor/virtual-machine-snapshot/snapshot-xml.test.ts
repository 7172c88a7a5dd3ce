import { describe, expect, it } from 'vitest';
import type { VirtualMachineSnapshotSpec } from '../../../src/api/virtual-machine-snapshot.ts';
import { snapshotXml } from '../../../src/executor/virtual-machine-snapshot/snapshot-xml.ts';

describe('the description that libvirt is given of a snapshot', () => {
  const of = (spec: Partial<VirtualMachineSnapshotSpec>): string | undefined => {
    const xml = snapshotXml({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineSnapshot',
      metadata: { namespace: 'shop', name: 'first' },
      spec: { virtualMachine: 'web', ...spec },
      status: { name: 'first', domainState: 'shutoff', disks: [] },
    });
    return /<description>(.*)<\/description>/.exec(xml)?.[1];
  };

  it.each([
    ['names its object where it has none', {}, 'VirtualMachineSnapshot shop/first'],
    ['names its object where its own is empty', { description: '' }, 'VirtualMachineSnapshot shop/first'],
    [
      'names its object where libvirt’s is empty',
      { domainsnapshot: { description: '' } },
      'VirtualMachineSnapshot shop/first',
    ],
    ['is its own before libvirt’s', { description: 'own', domainsnapshot: { description: 'other' } }, 'own'],
    ['is libvirt’s where it has none of its own', { domainsnapshot: { description: 'other' } }, 'other'],
  ])('%s', (_title, spec, description) => {
    expect(of(spec)).toBe(description);
  });
});
