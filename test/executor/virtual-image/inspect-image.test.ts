import { describe, expect, it } from 'vitest';
import { judgeImage } from '../../../src/executor/virtual-image/inspect-image.ts';

const GiB = 1024 ** 3;
const path = '/spool/file';
const good = { format: 'qcow2', 'virtual-size': GiB };

describe('what qemu-img says of an image', () => {
  it('is taken when it names nothing but itself', () => {
    expect(judgeImage(good, path, GiB)).toEqual({ format: 'qcow2', virtualBytes: GiB });
    const data = { extents: [{ filename: path, format: '' }] };
    const vmdk = { format: 'vmdk', 'virtual-size': 1, 'format-specific': { type: 'vmdk', data } };
    expect(judgeImage(vmdk, path, GiB)).toEqual({ format: 'vmdk', virtualBytes: 1 });
  });

  it.each([
    ['a backing file', { 'backing-filename': '/etc/shadow' }],
    ['a backing file of its own folder', { 'backing-filename': 'file2' }],
    ['a pseudo-protocol', { 'backing-filename': 'json:{"driver":"nbd","host":"10.0.0.1"}' }],
    ['a URL', { 'backing-filename': 'http://169.254.169.254/latest/meta-data' }],
    ['its data in another file', { 'format-specific': { data: { 'data-file': '/etc/shadow' } } }],
    ['an extent in another file', { 'format-specific': { data: { extents: [{ filename: '/etc/shadow' }] } } }],
    ['a second extent', { 'format-specific': { data: { extents: [{ filename: path }, { filename: `${path}2` }] } } }],
  ])('is refused with %s', (_what, more) => {
    expect(() => judgeImage({ ...good, ...more }, path, GiB)).toThrow(
      expect.objectContaining({ reason: 'UnsafeImage', isFinal: true }) as Error,
    );
  });

  it('is refused with a disk that is too large or of no size, and in a format that is none of disks', () => {
    for (const size of [GiB + 1, 2 ** 63, NaN, undefined]) {
      expect(() => judgeImage({ ...good, 'virtual-size': size }, path, GiB)).toThrow('spec.maxVirtualSize');
    }
    for (const format of ['luks', 'parallels', 'dmg', 'quorum', 'nbd', '']) {
      expect(() => judgeImage({ ...good, format }, path, GiB)).toThrow('is no format of disks');
    }
  });
});
