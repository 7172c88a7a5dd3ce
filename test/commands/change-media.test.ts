import { describe, expect, it } from 'vitest';
import type { MutableSpec } from '../../src/cli/machine-edit.ts';
import { changeMedia } from '../../src/commands/change-media.ts';

const server = { wait: true, timeout: 0 };

const spec = (): MutableSpec => ({
  volumes: [
    { name: 'root', virtualDisk: 'web-root' },
    { name: 'installer', virtualImage: 'old', cdrom: true },
  ],
  domain: {
    devices: {
      disk: [
        { type: 'file', device: 'cdrom', source: { file: '/a.iso' }, target: { dev: 'sda', bus: 'sata' } },
        { type: 'file', device: 'disk', source: { file: '/b.img' }, target: { dev: 'vdb', bus: 'virtio' } },
      ],
    },
  },
});

describe('virtctl change-media', () => {
  it('changes the image of a volume', () => {
    const changed = spec();
    changeMedia(changed, 'installer', { ...server, image: 'new' });
    expect(changed.volumes?.[1]).toEqual({ name: 'installer', virtualImage: 'new', cdrom: true });
  });

  it('changes the kind of source of a volume', () => {
    const changed = spec();
    changeMedia(changed, 'installer', { ...server, path: '/x.iso' });
    expect(changed.volumes?.[1]).toEqual({ name: 'installer', hostPath: { path: '/x.iso' }, cdrom: true });
  });

  it('ejects from a drive of the domain', () => {
    const changed = spec();
    changeMedia(changed, 'sda', { ...server, eject: true });
    expect(changed.domain?.devices?.disk?.[0]).toEqual({
      type: 'file',
      device: 'cdrom',
      target: { dev: 'sda', bus: 'sata' },
    });
  });

  it('ejects from the drive of a volume, which stays at its place, and puts an image into it again', () => {
    const changed: MutableSpec = {
      volumes: [{ name: 'installer', virtualImage: 'old', cdrom: true, bootOrder: 2, serial: 'S' }],
    };
    changeMedia(changed, 'installer', { ...server, eject: true }, new Map([['installer', 'sdb']]));
    expect(changed.volumes).toEqual([]);
    expect(changed.domain?.devices?.disk).toEqual([
      {
        type: 'file',
        device: 'cdrom',
        target: { dev: 'sdb', bus: 'sata' },
        boot: { order: 2 },
        serial: 'S',
        readonly: {},
      },
    ]);
    changeMedia(changed, 'sdb', { ...server, image: 'new' });
    expect(changed.domain?.devices?.disk).toEqual([]);
    expect(changed.volumes).toEqual([
      {
        ...{ name: 'sdb', virtualImage: 'new', cdrom: true, bootOrder: 2, serial: 'S' },
        target: { dev: 'sdb', bus: 'sata' },
      },
    ]);
  });

  it('finds the drive of a volume by the device that its status tells', () => {
    const changed = spec();
    changeMedia(changed, 'sdb', { ...server, path: '/x.iso' }, new Map([['installer', 'sdb']]));
    expect(changed.volumes?.[1]).toEqual({ name: 'installer', hostPath: { path: '/x.iso' }, cdrom: true });
  });

  it.each([
    ['root', { image: 'x' }, 'no CD-ROM drive'],
    ['vdb', { path: '/x.iso' }, 'takes no media'],
    ['sdz', { path: '/x.iso' }, 'no drive "sdz"'],
    ['installer', { eject: true }, 'no place in the guest yet'],
  ])('refuses %s with %j', (drive, flags, message) => {
    expect(() => changeMedia(spec(), drive, { ...server, ...flags })).toThrow(message);
  });
});
