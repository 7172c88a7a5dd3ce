import { describe, expect, it } from 'vitest';
import type { VirtualMachineSnapshotSpec } from '../../../src/api/virtual-machine-snapshot.ts';
import { wishesOf } from '../../../src/executor/virtual-machine-snapshot/snapshot-xml.ts';
import type { DomainSnapshot } from '../../../src/model/types.gen.ts';
import {
  chooseMode,
  type ModeInput,
  type SnapshotDisk,
} from '../../../src/executor/virtual-machine-snapshot/choose-mode.ts';

const disk = (more: Partial<SnapshotDisk> = {}): SnapshotDisk => ({
  target: 'vda',
  name: 'root',
  path: '/pool/root.qcow2',
  format: 'qcow2',
  virtualDisk: 'root',
  isReadOnly: false,
  isShareable: false,
  isFile: true,
  isEncrypted: false,
  ...more,
});
const input = (more: Partial<ModeInput> = {}): ModeInput => ({
  mode: 'Auto',
  memory: false,
  disks: [disk()],
  perDisk: [],
  isRunning: true,
  hasNvram: false,
  hasFlash: false,
  existing: undefined,
  ...more,
});
const raw = disk({ target: 'vdb', name: 'data', path: '/pool/data.raw', format: 'raw', virtualDisk: 'data' });
const scratch = disk({ target: 'vdc', name: 'scratch', path: '/x/scratch', virtualDisk: undefined });
const cdrom = disk({
  target: 'sda',
  name: 'seed',
  path: '/x/seed',
  format: 'raw',
  virtualDisk: undefined,
  isReadOnly: true,
});

describe('what is wanted of a snapshot', () => {
  const spec = (more: Partial<VirtualMachineSnapshotSpec>): VirtualMachineSnapshotSpec => ({
    virtualMachine: 'web',
    ...more,
  });

  it('is read from our own fields, and only the disks that they name', () => {
    expect(wishesOf(spec({ mode: 'External', memory: true, disks: [{ name: 'root' }] }))).toMatchObject({
      ...{ mode: 'External', memory: true, othersToo: false, perDisk: [{ name: 'root' }] },
    });
    expect(wishesOf(spec({}))).toMatchObject({ mode: 'Auto', memory: false, perDisk: [], othersToo: true });
  });

  it("is read from libvirt's XML, with the disks that it does not name", () => {
    const domainsnapshot: DomainSnapshot = {
      memory: { snapshot: 'external', file: '/srv/web.mem' },
      disks: {
        disk: [
          { name: 'vda', snapshot: 'external', source: { file: '/srv/web.over' } },
          { name: 'sda', snapshot: 'no' },
        ],
      },
    };
    const wishes = wishesOf(spec({ domainsnapshot }));
    expect(wishes).toMatchObject({ mode: 'External', memory: true, memoryFile: '/srv/web.mem', othersToo: true });
    expect(
      chooseMode(input({ ...wishes, disks: [disk(), raw] })).disks.map(({ target, mode, file }) => [
        target,
        mode,
        file,
      ]),
    ).toEqual([
      ['vda', 'External', '/srv/web.over'],
      ['vdb', 'External', undefined],
    ]);
    expect(() =>
      wishesOf(spec({ domainsnapshot: { disks: { disk: [{ name: 'vda', snapshot: 'manual' }] } } })),
    ).toThrow(/manual/);
  });
});

describe('the mode of a snapshot', () => {
  it('is External for the disks alone of a running machine, and Internal with its memory', () => {
    expect(chooseMode(input())).toMatchObject({ mode: 'External', memory: false });
    expect(chooseMode(input({ memory: true }))).toMatchObject({ mode: 'Internal', memory: true });
  });

  it('is Internal for a machine that is off, which has no memory to keep', () => {
    expect(chooseMode(input({ isRunning: false, memory: true }))).toMatchObject({ mode: 'Internal', memory: false });
  });

  it('is External where a disk is raw or the firmware has NVRAM', () => {
    expect(chooseMode(input({ memory: true, disks: [disk(), raw] }))).toMatchObject({ mode: 'External', memory: true });
    expect(chooseMode(input({ memory: true, hasNvram: true }))).toMatchObject({ mode: 'External' });
    expect(chooseMode(input({ isRunning: false, disks: [raw] }))).toMatchObject({ mode: 'External' });
  });

  it('is External where the firmware has NVRAM also while the machine is off, so that one can be taken while it runs', () => {
    const off = { isRunning: false, hasNvram: true };
    expect(chooseMode(input(off))).toMatchObject({ mode: 'External' });
    expect(chooseMode(input({ ...off, mode: 'Internal' }))).toMatchObject({ mode: 'Internal' });
    expect(chooseMode(input({ ...off, existing: 'Internal' }))).toMatchObject({ mode: 'Internal' });
    expect(chooseMode(input({ ...off, disks: [scratch] }))).toMatchObject({ mode: 'Internal' });
    // libvirt refuses it for a definition that names the flash itself.
    expect(() => chooseMode(input({ ...off, hasFlash: true, mode: 'Internal' }))).toThrow(/NVRAM is a raw file/);
  });

  it('is Internal where a path of spec could not follow, and says that the memory is kept', () => {
    expect(chooseMode(input({ disks: [disk(), scratch] }))).toMatchObject({ mode: 'Internal', memory: true });
  });

  it('follows the snapshots that there are, and refuses the other sort', () => {
    expect(chooseMode(input({ existing: 'Internal' }))).toMatchObject({ mode: 'Internal' });
    expect(chooseMode(input({ existing: 'External', isRunning: false }))).toMatchObject({ mode: 'External' });
    expect(() => chooseMode(input({ existing: 'Internal', mode: 'External' }))).toThrow(/that are Internal/);
  });

  it('leaves out what is read-only, and what is not asked for', () => {
    const chosen = chooseMode(input({ disks: [disk(), raw, cdrom], perDisk: [{ name: 'vdb' }] }));
    expect(chosen.disks.map(({ target, mode }) => `${target} ${mode}`)).toEqual([
      'vda None',
      'vdb External',
      'sda None',
    ]);
  });

  it.each([
    [{ mode: 'Internal', disks: [raw] }, /vdb is raw/],
    [
      { mode: 'External', disks: [scratch] },
      /vdc is no VirtualDisk.*use one for volume "scratch" \(an emptyDisk with a pool/,
    ],
    [
      { mode: 'External', disks: [disk({ name: undefined, virtualDisk: undefined })] },
      /vda is no VirtualDisk.*source\.import\.path.*or leave it out with spec\.disks/,
    ],
    [{ mode: 'External', disks: [disk({ isShareable: true })] }, /vda is shared/],
    [{ mode: 'External', disks: [disk({ isFile: false })] }, /vda is no file/],
    [{ mode: 'External', disks: [disk({ isEncrypted: true })] }, /vda is encrypted, and the new file would not be/],
    [
      { mode: 'External', memory: true, disks: [disk(), raw], perDisk: [{ name: 'root' }] },
      /vdb would not fit the memory/,
    ],
    [{ disks: [cdrom] }, /no disk that can be kept/],
    [{ perDisk: [{ name: 'vdz' }] }, /no disk "vdz"/],
    [{ disks: [scratch, raw] }, /External is not possible: disk vdc .* nor one of the other sort: disk vdb is raw/],
  ] satisfies [Partial<ModeInput>, RegExp][])('refuses %o in words', (more, words) => {
    expect(() => chooseMode(input(more))).toThrow(words);
  });
});
