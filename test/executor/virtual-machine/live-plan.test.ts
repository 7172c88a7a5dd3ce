import { describe, expect, it } from 'vitest';
import { compareRemoved, compareWanted } from '../../../src/executor/virtual-machine/compare.ts';
import { planLive, type LiveAction } from '../../../src/executor/virtual-machine/live-plan.ts';
import type { DataObject } from '../../../src/executor/virtual-machine/same-value.ts';

const disk = { type: 'file', device: 'disk', source: { file: '/a' }, target: { dev: 'vda', bus: 'virtio' } };
const cdrom = {
  type: 'file',
  device: 'cdrom',
  source: { file: '/old.iso', index: 3 },
  backingStore: {},
  target: { dev: 'sda', bus: 'sata' },
  alias: { name: 'sata0-0-0' },
};
const nic = {
  type: 'network',
  mac: { address: '52:54:00:aa:00:01' },
  source: { network: 'default' },
  link: { state: 'up' },
};
const live: DataObject = {
  title: 'old',
  memory: { unit: 'KiB', value: 1048576 },
  currentMemory: { unit: 'KiB', value: 1048576 },
  vcpu: { current: 1, value: 4 },
  on_crash: 'destroy',
  cputune: { shares: 512, vcpupin: [{ vcpu: 0, cpuset: '0' }] },
  devices: { disk: [disk, cdrom], interface: [nic], memballoon: { model: 'virtio' } },
};

function plan(wanted: DataObject, applied: DataObject = {}): { actions: LiveAction[]; restart: string[] } {
  const differences = [...compareWanted(wanted, live), ...compareRemoved(applied, wanted, live)];
  const { steps, restartRequired } = planLive(differences, wanted, live, live);
  return { actions: steps.map(({ action }) => action), restart: restartRequired.map(({ path }) => path) };
}

describe('the plan of live changes', () => {
  it('sets title, lifecycle actions, processors and memory of the running domain', () => {
    const { actions, restart } = plan({
      title: 'new',
      on_crash: 'restart',
      vcpu: { current: 3, value: 4 },
      currentMemory: { unit: 'MiB', value: 512 },
    });
    expect(actions).toEqual([
      { type: 'text', element: 'title', text: 'new' },
      { type: 'lifecycle', event: 'on_crash', action: 'restart' },
      { type: 'vcpus', count: 3 },
      { type: 'balloon', kib: 524288n },
    ]);
    expect(restart).toEqual([]);
  });

  it('takes processors back from a guest of KVM, and leaves that for a restart where QEMU emulates', () => {
    const running = (type: string): DataObject => ({ ...live, type, vcpu: { current: 3, value: 4 } });
    const planned = (type: string, current: number) => {
      const wanted = { vcpu: { value: 4, current } };
      return planLive(compareWanted(wanted, running(type)), wanted, running(type), running(type));
    };
    expect(planned('kvm', 2).steps.map(({ action }) => action)).toEqual([{ type: 'vcpus', count: 2 }]);
    expect(planned('qemu', 4).steps.map(({ action }) => action)).toEqual([{ type: 'vcpus', count: 4 }]);
    const refused = planned('qemu', 2);
    expect(refused.steps).toEqual([]);
    expect(refused.restartRequired.map(({ path }) => path)).toEqual(['vcpu.current']);
    expect(refused.reasons.get('vcpu.current')).toContain('emulated');
  });

  it('gives what spec no longer says the value that the definition has', () => {
    const running = { ...live, on_crash: 'restart', currentMemory: { unit: 'KiB', value: 524288 } };
    const applied = { on_crash: 'restart', currentMemory: { unit: 'KiB', value: 524288 } };
    const { steps, restartRequired } = planLive(compareRemoved(applied, {}, running, live), {}, live, running);
    expect(steps.map(({ action }) => action)).toEqual([
      { type: 'lifecycle', event: 'on_crash', action: 'destroy' },
      { type: 'balloon', kib: 1048576n },
    ]);
    expect(restartRequired).toEqual([]);
  });

  it('plugs single processors by their number, before their count', () => {
    const entry = (id: number, enabled: boolean): DataObject => ({ id, enabled, hotpluggable: id > 0 });
    const running = { ...live, vcpus: { vcpu: [entry(0, true), entry(1, false), entry(2, false), entry(3, false)] } };
    const wanted = { vcpu: { current: 2, value: 4 }, vcpus: { vcpu: [entry(0, true), entry(3, true)] } };
    const { steps } = planLive(compareWanted(wanted, running), wanted, running, running);
    expect(steps.map(({ action }) => action)).toEqual([
      { type: 'vcpu', id: 3, enabled: true },
      { type: 'vcpus', count: 2 },
    ]);
  });

  it('leaves more processors and memory than the machine was started with for a restart', () => {
    const { actions, restart } = plan({ vcpu: { value: 8 }, memory: { unit: 'GiB', value: 2 } });
    expect(actions).toEqual([]);
    expect(restart.sort()).toEqual(['memory', 'vcpu.current', 'vcpu.value']);
  });

  it('detaches before it attaches', () => {
    const next = { type: 'file', source: { file: '/b' }, target: { dev: 'vdb', bus: 'virtio' } };
    const { actions } = plan({ devices: { disk: [next] } }, { devices: { disk: [disk] } });
    expect(actions.map(({ type }) => type)).toEqual(['detach', 'attach']);
    expect(actions[1]).toMatchObject({ kind: 'disk', device: next });
  });

  it('does not plug what cannot be plugged', () => {
    const { actions, restart } = plan({
      devices: {
        disk: [{ type: 'file', device: 'disk', target: { dev: 'sdb', bus: 'sata' } }],
        video: [{ model: { type: 'vga' } }],
      },
    });
    expect(actions).toEqual([]);
    expect(restart).toEqual(['devices.disk[0]', 'devices.video[0]']);
  });

  it('changes a medium without the details of the old one', () => {
    const next = { type: 'file', device: 'cdrom', source: { file: '/new.iso' }, target: { dev: 'sda', bus: 'sata' } };
    const { actions } = plan({ devices: { disk: [next] } });
    expect(actions).toEqual([
      {
        type: 'update',
        kind: 'disk',
        device: { ...cdrom, backingStore: undefined, source: { file: '/new.iso' } },
      },
    ]);
  });

  it('leaves the file of a disk that is no drive for a restart', () => {
    const { actions, restart } = plan({ devices: { disk: [{ ...disk, source: { file: '/b' } }] } });
    expect(actions).toEqual([]);
    expect(restart).toEqual(['devices.disk[0].source.file']);
  });

  it('updates an interface once for all its fields', () => {
    const next = { ...nic, link: { state: 'down' }, bandwidth: { inbound: { average: 100 } } };
    const { actions } = plan({ devices: { interface: [next] } });
    expect(actions).toEqual([{ type: 'update', kind: 'interface', device: next }]);
  });

  it('makes one call of all scheduler parameters, and takes limits away again', () => {
    expect(plan({ cputune: { shares: 2048, quota: 50000, period: 100000 } }).actions).toEqual([
      {
        type: 'tune',
        group: 'scheduler',
        values: { cpu_shares: 2048, vcpu_quota: 50000, vcpu_period: 100000 },
      },
    ]);
    const applied = { cputune: { shares: 512, vcpupin: [{ vcpu: 0, cpuset: '0' }] } };
    expect(plan({}, applied).actions).toEqual([
      { type: 'pinVcpu', vcpu: 0, cpuset: undefined },
      { type: 'tune', group: 'scheduler', values: { cpu_shares: 1024 } },
    ]);
  });

  it('throttles a disk, whole or in part', () => {
    const tuned = { ...disk, iotune: { total_bytes_sec: 1000000, total_iops_sec: '500' } };
    expect(plan({ devices: { disk: [tuned] } }).actions).toEqual([
      { type: 'blockIoTune', target: 'vda', values: { total_bytes_sec: 1000000, total_iops_sec: 500 } },
    ]);
  });

  it('limits memory and block I/O', () => {
    const { actions } = plan({
      memtune: { hard_limit: { unit: 'MiB', value: 2048 } },
      blkiotune: { weight: 300, device: [{ path: '/dev/sda', weight: 200 }] },
    });
    expect(actions).toEqual([
      { type: 'tune', group: 'memory', values: { hard_limit: 2097152 } },
      { type: 'tune', group: 'blkio', values: { weight: 300, device_weight: '/dev/sda,200' } },
    ]);
  });

  it('adds and removes I/O threads one by one', () => {
    expect(plan({ iothreads: 2 }).actions).toEqual([
      { type: 'addIoThread', iothread: 1 },
      { type: 'addIoThread', iothread: 2 },
    ]);
  });

  it('adds and removes I/O threads by the numbers that spec names', () => {
    const running = { ...live, iothreads: 2, iothreadids: { iothread: [{ id: 1 }, { id: 2 }] } };
    const wanted = { iothreads: 2, iothreadids: { iothread: [{ id: 1 }, { id: 7 }] } };
    const { steps } = planLive(compareWanted(wanted, running), wanted, running, running);
    expect(steps.map(({ action }) => action)).toEqual([
      { type: 'addIoThread', iothread: 7 },
      { type: 'removeIoThread', iothread: 2 },
    ]);
  });

  it('lifts limits from above and sets them from below, as the kernel takes them', () => {
    const limits = { global_quota: 80000, emulator_quota: 40000, quota: 50000, period: 100000 };
    const order = (actions: readonly LiveAction[]): string[] =>
      actions.flatMap((action) => (action.type === 'tune' ? Object.keys(action.values) : []));
    expect(order(plan({ cputune: limits }).actions).at(-1)).toBe('global_quota');
    const running = { ...live, cputune: limits };
    const lifted = planLive(compareRemoved({ cputune: limits }, {}, running), {}, running, running);
    expect(order(lifted.steps.map(({ action }) => action))[0]).toBe('global_quota');
  });

  it('plugs a vsock, and devices of the host', () => {
    const vsock = { model: 'virtio', cid: { auto: false, address: 7 } };
    expect(plan({ devices: { vsock } }).actions).toEqual([{ type: 'attach', kind: 'vsock', device: vsock }]);
    const pci = {
      mode: 'subsystem',
      type: 'pci',
      managed: true,
      source: { address: { domain: '0x0000', bus: '0x03', slot: '0x00', function: '0x0' } },
    };
    expect(plan({ devices: { hostdev: [pci] } }).actions).toEqual([{ type: 'attach', kind: 'hostdev', device: pci }]);
    const running = { ...live, devices: { hostdev: [{ ...pci, alias: { name: 'hostdev0' } }] } };
    const { steps } = planLive(compareRemoved({ devices: { hostdev: [pci] } }, {}, running), {}, running, running);
    expect(steps.map(({ action }) => action)).toMatchObject([{ type: 'detach', kind: 'hostdev' }]);
  });

  it('resizes virtio memory, and leaves its size for a restart', () => {
    const module = (requested: number, size = 1024): DataObject => ({
      model: 'virtio-mem',
      target: { size: { unit: 'MiB', value: size }, node: 0, requested: { unit: 'MiB', value: requested } },
    });
    const running = { ...live, devices: { memory: [{ ...module(256), alias: { name: 'virtiomem0' } }] } };
    const planOf = (wanted: DataObject): ReturnType<typeof planLive> =>
      planLive(compareWanted(wanted, running), wanted, running, running);
    expect(planOf({ devices: { memory: [module(512)] } }).steps.map(({ action }) => action)).toMatchObject([
      {
        type: 'update',
        kind: 'memory',
        device: { target: { requested: { value: 512 } }, alias: { name: 'virtiomem0' } },
      },
    ]);
    expect(planOf({ devices: { memory: [module(256, 2048)] } }).steps).toEqual([]);
  });
});
