import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyser/analyse.ts';
import { toEnvelope } from '../../src/analyser/envelope.ts';
import { kubernetesName, labelValue } from '../../src/analyser/kubernetes-name.ts';
import { fromEnvelope } from '../../src/convertor/envelope.ts';
import { ownDocument, ownDocuments } from '../support/libvirt-documents.ts';

describe('the object for a document', () => {
  it.each([
    ['<domain><name>Web_1</name></domain>', 'VirtualMachine', 'domain', 'web-1'],
    ['<network><name>default</name></network>', 'VirtualNetwork', 'network', 'default'],
    ['<pool><name>my pool</name></pool>', 'VirtualPool', 'pool', 'my-pool'],
    ['<volume><name>a.qcow2</name></volume>', 'VirtualDisk', 'volume', 'a.qcow2'],
    ['<domainsnapshot><name>1525</name></domainsnapshot>', 'VirtualMachineSnapshot', 'domainsnapshot', '1525'],
  ])('is of the kind for %s', (text, kind, field, name) => {
    const analysed = analyse(text);
    expect(toEnvelope(analysed)).toEqual({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind,
      metadata: { name },
      spec: { [field]: analysed.value },
    });
  });

  it('holds the overlay in its spec', () => {
    expect(toEnvelope(analyse('<domain><name>a</name><x/></domain>'))?.spec).toEqual({
      domain: { name: 'a' },
      overlay: [{ at: '', xml: '<x/>' }],
    });
  });

  it('names the machine of a snapshot that has its domain', () => {
    expect(toEnvelope(analyse(ownDocument('domainsnapshot.xml')))?.spec['virtualMachine']).toBe('shop.web');
  });

  it('gives the document back', () => {
    for (const { text } of ownDocuments) {
      const analysed = analyse(text);
      const object = toEnvelope(analysed);
      if (object === undefined) continue;
      const { kind, value, overlay } = fromEnvelope(object);
      expect({ kind, value, overlay }).toEqual({
        kind: analysed.kind,
        value: analysed.value,
        overlay: analysed.overlay,
      });
    }
  });
});

describe('a name for Kubernetes', () => {
  it.each([
    ['QEMUGuest1', 'qemuguest1'],
    ['shop.web', 'shop.web'],
    ['-.-', 'domain-c4e71b1d'],
    ['', 'domain'],
    ['Größe  XL!', 'gr-e-xl'],
  ])('is made from %j', (original, expected) => {
    expect(kubernetesName(original, 'domain')).toBe(expected);
  });

  it('is valid for any name of libvirt, and so is a label value', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (original) => {
        const name = kubernetesName(original, 'domain');
        expect(name).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
        expect(name.length).toBeLessThanOrEqual(253);
        const value = labelValue(original);
        if (value !== undefined) expect(value).toMatch(/^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/);
      }),
    );
  });
});

describe('a machine of OpenStack', () => {
  const expected = {
    'openstack.virtctl.dev/instance-name': 'front end #1',
    'openstack.virtctl.dev/flavor': 'm1.small',
    'openstack.virtctl.dev/project': 'shop',
    'openstack.virtctl.dev/project-id': 'd3a0c7e5b1f24f65a0c9a1d7b3c4e5f6',
    'openstack.virtctl.dev/user': 'alice@example.org',
    'openstack.virtctl.dev/user-id': '7f1c5f9bb0e54d1d8c1f3f8d8c0e2a11',
    'openstack.virtctl.dev/image': '155d900f-4e14-4e4c-a73d-069cbf4541e6',
    'openstack.virtctl.dev/creation-time': '2023-05-04 12:34:56',
  };

  it('has what nova says as annotations, and as labels made valid', () => {
    const metadata = toEnvelope(analyse(ownDocument('domain-nova.xml')))?.metadata;
    expect(metadata).toEqual({
      name: 'instance-0000002a',
      annotations: expected,
      labels: {
        ...expected,
        'openstack.virtctl.dev/instance-name': 'front-end-1',
        'openstack.virtctl.dev/user': 'alice-example.org',
        'openstack.virtctl.dev/creation-time': '2023-05-04-12-34-56',
      },
    });
  });

  it('is recognised by the namespace, wherever it is declared and with whatever prefix', () => {
    const text = ownDocument('domain-nova.xml')
      .replace(' xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"', '')
      .replace('<domain ', '<domain xmlns:n="http://openstack.org/xmlns/libvirt/nova/1.0" ')
      .replaceAll('nova:', 'n:');
    expect(toEnvelope(analyse(text))?.metadata.annotations).toEqual(expected);
  });

  it('is not what only looks like one', () => {
    const text = '<domain><metadata><instance><name>a</name></instance></metadata></domain>';
    expect(toEnvelope(analyse(text))?.metadata).toEqual({ name: 'domain' });
  });
});
