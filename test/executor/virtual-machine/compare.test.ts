import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareRemoved, compareWanted } from '../../../src/executor/virtual-machine/compare.ts';
import { mergeDomain } from '../../../src/executor/virtual-machine/merge.ts';
import type { DataObject } from '../../../src/executor/virtual-machine/same-value.ts';

/** What libvirt makes of a small definition. */
const current: DataObject = {
  type: 'qemu',
  name: 'shop.web',
  uuid: '8a2b2f0c-0b4e-4d0e-9a5c-3c1d0b9e7f11',
  memory: { unit: 'KiB', value: 2097152 },
  currentMemory: { unit: 'KiB', value: 2097152 },
  vcpu: { placement: 'static', value: 2 },
  os: { type: { arch: 'x86_64', machine: 'pc-q35-7.2', value: 'hvm' }, boot: [{ dev: 'hd' }] },
  cpu: { mode: 'host-passthrough', check: 'none', migratable: true },
  devices: {
    emulator: '/usr/bin/qemu-system-x86_64',
    disk: [
      {
        type: 'file',
        device: 'disk',
        driver: { name: 'qemu', type: 'qcow2' },
        source: { file: '/a.qcow2' },
        target: { dev: 'vda', bus: 'virtio' },
        address: { type: 'pci', domain: '0x0000', bus: '0x04', slot: '0x00', function: '0x0' },
      },
    ],
    interface: [
      {
        type: 'network',
        mac: { address: '52:54:00:aa:00:01' },
        source: { network: 'default' },
        model: { type: 'virtio' },
        address: { type: 'pci', bus: '0x01' },
      },
      {
        type: 'network',
        mac: { address: '52:54:00:aa:00:02' },
        source: { network: 'default' },
        model: { type: 'virtio' },
        address: { type: 'pci', bus: '0x02' },
      },
    ],
    controller: [
      { type: 'usb', index: 0, model: 'qemu-xhci' },
      { type: 'pci', index: 0, model: 'pcie-root' },
    ],
    memballoon: { model: 'virtio' },
  },
};

const wanted: DataObject = {
  type: 'qemu',
  memory: { unit: 'MiB', value: 2048 },
  vcpu: { value: 2 },
  os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
  devices: {
    disk: [{ type: 'file', source: { file: '/a.qcow2' }, target: { dev: 'vda', bus: 'virtio' } }],
    interface: [
      { type: 'network', source: { network: 'default' }, model: { type: 'virtio' } },
      { type: 'network', mac: { address: '52:54:00:AA:00:02' }, source: { network: 'default' } },
    ],
  },
};

const paths = (differences: readonly { path: string }[]): string[] => differences.map(({ path }) => path);

describe('comparing a domain with what was asked for', () => {
  it('finds nothing where libvirt only writes it differently and adds its own', () => {
    expect(compareWanted(wanted, current)).toEqual([]);
  });

  it('names each field that differs by its path in spec, with both values', () => {
    const changed = { ...wanted, memory: { unit: 'GiB', value: 4 }, title: 'web' };
    expect(compareWanted(changed, current)).toMatchObject([
      { path: 'memory', to: { unit: 'GiB', value: 4 }, from: { unit: 'KiB', value: 2097152 } },
      { path: 'title', to: 'web', from: undefined },
    ]);
  });

  it('names a field of a device', () => {
    const disk = [{ source: { file: '/b.qcow2' }, target: { dev: 'vda', bus: 'virtio' } }];
    const [found] = compareWanted({ devices: { disk } }, current);
    expect(found).toMatchObject({
      path: 'devices.disk[0].source.file',
      to: '/b.qcow2',
      from: '/a.qcow2',
      device: { kind: 'disk', path: 'devices.disk[0]' },
    });
  });

  it('finds a device that is missing as a whole', () => {
    const disk = [{ source: { file: '/b' }, target: { dev: 'vdb', bus: 'virtio' } }];
    const [found] = compareWanted({ devices: { disk } }, current);
    expect(found).toMatchObject({
      path: 'devices.disk[0]',
      from: undefined,
      device: { kind: 'disk', actual: undefined },
    });
  });

  it('does not miss an element that says nothing when it is empty', () => {
    const empty = { memtune: {}, keywrap: {}, cputune: {}, devices: { disk: [] } };
    expect(paths(compareWanted(empty, current))).toEqual([]);
    expect(paths(compareWanted({ features: { pae: {} } }, { ...current, features: {} }))).toEqual(['features.pae']);
    expect(paths(compareWanted({ memtune: { hard_limit: { unit: 'KiB', value: 9 } } }, current))).toEqual(['memtune']);
  });

  it('takes vcpu without current as all of them', () => {
    const some = { ...current, vcpu: { placement: 'static', current: 1, value: 2 } };
    expect(paths(compareWanted({ vcpu: { value: 2 } }, some))).toEqual(['vcpu.current']);
    expect(paths(compareWanted({ vcpu: { value: 2, current: 1 } }, some))).toEqual([]);
  });

  it('reads addresses as numbers and CPU sets as sets', () => {
    const actual = {
      vcpu: { cpuset: '0-3', value: 2 },
      devices: { hostdev: [{ mode: 'subsystem', type: 'pci', source: { address: { bus: '0x0a', slot: '0x00' } } }] },
    };
    const same = {
      vcpu: { cpuset: '0,1,2-3', value: 2 },
      devices: { hostdev: [{ mode: 'subsystem', type: 'pci', source: { address: { bus: '10', slot: '0x0' } } }] },
    };
    expect(compareWanted(same, actual)).toEqual([]);
  });

  it('reports what was applied, is no longer asked for and is still there', () => {
    const applied = { title: 'web', cpu: { mode: 'host-passthrough' }, devices: wanted['devices'] };
    const found = compareRemoved(applied, { devices: { interface: [] } }, current);
    expect(paths(found)).toEqual([
      'cpu',
      'devices.disk[vda]',
      'devices.interface[52:54:00:aa:00:01]',
      'devices.interface[52:54:00:aa:00:02]',
    ]);
  });

  it('does not report a removed field that stands so by default', () => {
    const applied = { on_crash: 'destroy' };
    expect(compareRemoved(applied, {}, { on_crash: 'destroy' }, { on_crash: 'destroy' })).toEqual([]);
    expect(paths(compareRemoved(applied, {}, { on_crash: 'destroy' }, { on_crash: 'restart' }))).toEqual(['on_crash']);
  });
});

describe('merging spec into a definition', () => {
  it('keeps what libvirt chose', () => {
    expect(mergeDomain({}, wanted, current)).toEqual({ ...current, memory: { unit: 'MiB', value: 2048 } });
  });

  it('takes the right one of two like interfaces out', () => {
    const applied = { devices: { interface: wanted['devices'] } };
    const two = [
      { type: 'network', source: { network: 'default' } },
      { type: 'network', source: { network: 'default' } },
    ];
    const merged = mergeDomain({ devices: { interface: two } }, { devices: { interface: [two[1] ?? {}] } }, current);
    expect((merged['devices'] as DataObject)['interface']).toHaveLength(1);
    expect(applied).toBeDefined();
  });

  it('leaves alone a device that somebody else added', () => {
    const merged = mergeDomain({}, { devices: { disk: [{ target: { dev: 'vdb', bus: 'virtio' } }] } }, current);
    expect((merged['devices'] as DataObject)['disk']).toHaveLength(2);
  });

  it('drops what libvirt chose for a device when its kind changes, but not its MAC address', () => {
    const iface = [{ type: 'bridge', mac: { address: '52:54:00:aa:00:01' }, source: { bridge: 'br0' } }];
    const merged = mergeDomain({}, { devices: { interface: iface } }, current);
    expect(((merged['devices'] as DataObject)['interface'] as DataObject[])[0]).toEqual(iface[0]);
  });

  it('lets libvirt choose the current memory anew when the memory changes', () => {
    const merged = mergeDomain({}, { memory: { unit: 'GiB', value: 4 } }, current);
    expect(merged['currentMemory']).toBeUndefined();
    expect(mergeDomain({}, { memory: { unit: 'GiB', value: 2 } }, current)['currentMemory']).toBeDefined();
  });

  it('forgets addresses and controllers when the machine becomes another family', () => {
    const merged = mergeDomain({}, { os: { type: { machine: 'pc' } } }, current);
    expect(JSON.stringify(merged)).not.toContain('"address":{"type":"pci"');
    expect((merged['devices'] as DataObject)['controller']).toBeUndefined();
  });

  it('removes a whole element that spec introduced and drops, and its fields in elements that are always there', () => {
    const merged = mergeDomain({ cpu: { mode: 'host-passthrough' }, os: { boot: [{ dev: 'hd' }] } }, {}, current);
    expect(merged['cpu']).toBeUndefined();
    expect(merged['os']).toEqual({ type: { arch: 'x86_64', machine: 'pc-q35-7.2', value: 'hvm' } });
  });
});

const name = fc.constantFrom('vda', 'vdb', 'vdc', 'sda', 'hda');
const disk = fc.record(
  {
    type: fc.constantFrom('file', 'block'),
    source: fc.record({ file: fc.constantFrom('/a', '/b') }),
    target: fc.record({ dev: name, bus: fc.constantFrom('virtio', 'scsi', 'sata') }),
    driver: fc.record({ cache: fc.constantFrom('none', 'writeback'), type: fc.constantFrom('raw', 'qcow2') }),
    serial: fc.string({ maxLength: 5 }),
  },
  { requiredKeys: ['target'] },
);
const iface = fc.record(
  {
    type: fc.constantFrom('network', 'bridge'),
    source: fc.record({ network: fc.constantFrom('a', 'b') }),
    mac: fc.record({ address: fc.constantFrom('52:54:00:00:00:01', '52:54:00:00:00:02', '52:54:00:00:00:03') }),
    link: fc.record({ state: fc.constantFrom('up', 'down') }),
  },
  { requiredKeys: ['type'] },
);
const domain: fc.Arbitrary<DataObject> = fc.record(
  {
    title: fc.string({ maxLength: 8 }),
    memory: fc.record({ unit: fc.constantFrom('KiB', 'MiB', 'GiB'), value: fc.integer({ min: 1, max: 64 }) }),
    vcpu: fc.record({ value: fc.integer({ min: 1, max: 8 }) }),
    cpu: fc.record({ mode: fc.constantFrom('host-passthrough', 'host-model') }),
    on_crash: fc.constantFrom('destroy', 'restart'),
    devices: fc.record(
      {
        disk: fc.uniqueArray(disk, { selector: (one) => one.target.dev, maxLength: 4 }),
        interface: fc.uniqueArray(iface, { selector: (one) => one.mac?.address, maxLength: 3 }),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);

describe('the three-way comparison, for any domains', () => {
  it('is done after one merge: nothing that spec sets differs, nothing that it dropped is left', () => {
    fc.assert(
      fc.property(domain, domain, domain, (applied, next, had) => {
        const before = mergeDomain({}, applied, had);
        const merged = mergeDomain(applied, next, before);
        expect(compareWanted(next, merged)).toEqual([]);
        expect(compareRemoved(applied, next, merged).filter(({ to }) => to !== undefined)).toEqual([]);
      }),
    );
  });

  it('changes nothing when the same spec is applied again', () => {
    fc.assert(
      fc.property(domain, domain, (spec, had) => {
        const once = mergeDomain({}, spec, had);
        expect(mergeDomain(spec, spec, once)).toEqual(once);
        expect(compareRemoved(spec, spec, once)).toEqual([]);
      }),
    );
  });

  it('gives back what libvirt had when everything is taken back', () => {
    fc.assert(
      fc.property(domain, (spec) => {
        const had: DataObject = { name: 'x', devices: { controller: [{ type: 'usb', index: 0 }] } };
        const once = mergeDomain({}, spec, had);
        const back = mergeDomain(spec, {}, once);
        expect(compareWanted(had, back)).toEqual([]);
        expect(JSON.stringify(back)).not.toContain('target');
        expect(back['title']).toBeUndefined();
      }),
    );
  });
});
