import { describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyser/analyse.ts';
import { FileHolds, filesOf } from '../../src/executor/virtual-disk/file-holds.ts';
import type { DataObject } from '../../src/executor/virtual-machine/same-value.ts';

const write = (...paths: string[]) => new Map(paths.map((path) => [path, 'write'] as const));
const read = (...paths: string[]) => new Map(paths.map((path) => [path, 'read'] as const));

describe('files that are worked on', () => {
  it('are held by one writer at a time, who is named to the others', () => {
    const holds = new FileHolds();
    const first = holds.take(write('/a', '/b'), 'a resize');
    expect(holds.take(write('/b', '/c'), 'a start').busy).toBe('a resize');
    expect(holds.take(read('/a'), 'a copy').busy).toBe('a resize');
    first.release?.();
    expect(holds.take(write('/b', '/c'), 'a start').busy).toBeUndefined();
  });

  it('are all held, or none', () => {
    const holds = new FileHolds();
    holds.take(write('/b'), 'a resize');
    expect(holds.take(write('/a', '/b'), 'a start').busy).toBe('a resize');
    expect(holds.take(write('/a'), 'another').busy).toBeUndefined();
  });

  it('may be read by several, and are written to when the last of them is done', () => {
    const holds = new FileHolds();
    const one = holds.take(read('/a'), 'a copy');
    const two = holds.take(read('/a'), 'a copy');
    one.release?.();
    expect(holds.take(write('/a'), 'a start').busy).toBe('a copy');
    two.release?.();
    // Once more is harmless.
    two.release?.();
    expect(holds.take(write('/a'), 'a start').busy).toBeUndefined();
  });

  it('are those that the disks of a domain name', () => {
    const xml = `<domain type="qemu"><devices>
      <disk type="file" device="disk"><source file="/pool/a.qcow2"/><target dev="vda"/></disk>
      <disk type="block" device="disk"><source dev="/dev/sdz"/><target dev="vdb"/></disk>
      <disk type="file" device="cdrom"><source file="/pool/b.iso"/><target dev="sda"/><readonly/></disk>
      <disk type="file" device="cdrom"><target dev="sdb"/><readonly/></disk>
      <disk type="network" device="disk"><source protocol="rbd" name="pool/image"/><target dev="vdc"/></disk>
    </devices></domain>`;
    expect([...filesOf(analyse(xml).value as DataObject)]).toEqual([
      ['/pool/a.qcow2', 'write'],
      ['/dev/sdz', 'write'],
      ['/pool/b.iso', 'read'],
    ]);
    expect(filesOf(undefined).size).toBe(0);
  });
});
