import { createHash } from 'node:crypto';
import { open, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeTestFolder } from '../../support/test-folder.ts';
import { uploadOf, type ImageUpload } from '../../../src/api/image-upload.ts';
import type { VirtualImage } from '../../../src/api/virtual-image.ts';
import { chunksOf, keptOf, nextCheckpoint, readPrefix, sumOf } from '../../../src/commands/image/upload-checkpoint.ts';

const MiB = 1 << 20;
const sha256 = (data: Uint8Array): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;

describe('the parts of an upload', () => {
  it('are at least 16 MiB and at most 128, and a 32nd of the file between', () => {
    expect(nextCheckpoint(0, 1000)).toBe(1000);
    expect(nextCheckpoint(0, 16 * MiB)).toBe(16 * MiB);
    expect(nextCheckpoint(0, 100 * MiB)).toBe(16 * MiB);
    expect(nextCheckpoint(96 * MiB, 100 * MiB)).toBe(100 * MiB);
    expect(nextCheckpoint(0, 1024 * MiB)).toBe(32 * MiB);
    expect(nextCheckpoint(0, 1 << 30)).toBe(32 * MiB);
    expect(nextCheckpoint(0, 1024 ** 4)).toBe(128 * MiB);
  });

  it('are halved by each loss, down to 1 MiB', () => {
    const ends = [0, 1, 2, 3, 4, 5, 2000].map((losses) => nextCheckpoint(0, 100 * MiB, losses) / MiB);
    expect(ends).toEqual([16, 8, 4, 2, 1, 1, 1]);
    expect(nextCheckpoint(9 * MiB, 100 * MiB)).toBe(16 * MiB);
  });

  it('cover the file without gap, wherever one goes on and however often it was cut off', () => {
    const sizes = fc.integer({ min: 1, max: 2 ** 45 });
    fc.assert(
      fc.property(sizes, fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(40), (bytes, share, losses) => {
        const from = Math.min(bytes - 1, Math.floor(bytes * share));
        const to = nextCheckpoint(from, bytes, losses);
        expect(to).toBeGreaterThan(from);
        expect(to).toBeLessThanOrEqual(bytes);
        expect(to - from).toBeLessThanOrEqual(128 * MiB);
        expect(to === bytes || to % MiB === 0).toBe(true);
      }),
    );
  });
});

describe('what is kept of an upload', () => {
  const upload: ImageUpload = { id: 'a', nodeName: 'n', state: 'Uploading', bytes: 100 };
  const sentChecksum = sha256(Buffer.from('x'));
  const through = (value: unknown): ImageUpload | undefined =>
    uploadOf({ metadata: { annotations: { 'virtctl.dev/upload': JSON.stringify(value) } } } as unknown as VirtualImage);

  it('is what libvirt confirmed, all of it once it was complete, and else nothing', () => {
    expect(keptOf(upload)).toBeUndefined();
    expect(keptOf({ ...upload, sent: 60, sentChecksum })).toEqual({ bytes: 60, checksum: sentChecksum });
    expect(keptOf({ ...upload, state: 'Complete', checksum: sentChecksum })).toEqual({
      bytes: 100,
      checksum: sentChecksum,
    });
  });

  it('is read from the annotation, and is nothing where that makes no sense', () => {
    const whole = { ...upload, sent: 60, sentChecksum };
    expect(through(whole)).toEqual(whole);
    for (const bad of [{ sent: 101 }, { sent: -1 }, { sent: 0 }, { sent: 1.5 }, { sent: '60' }, { sentChecksum: 'x' }])
      expect(through({ ...whole, ...bad })).toEqual(upload);
  });
});

describe('the beginning of a file', () => {
  const signal = new AbortController().signal;
  const content = Buffer.from(Array.from({ length: 3 * MiB + 17 }, (_, index) => index % 251));
  const folder = makeTestFolder('upload-checkpoint');
  let file: FileHandle;
  beforeAll(async () => {
    await writeFile(join(folder, 'file'), content);
    file = await open(join(folder, 'file'));
  });
  afterAll(async () => {
    await file.close();
    await rm(folder, { recursive: true });
  });

  it('has a checksum that goes on to that of the whole, from wherever it is cut', async () => {
    for (const cut of [0, 1, MiB - 1, MiB, 2 * MiB + 3, content.length]) {
      const { checksum, hash } = await readPrefix(file, cut, signal);
      expect(checksum).toBe(sha256(content.subarray(0, cut)));
      const rest: Buffer[] = [];
      for await (const chunk of chunksOf(file, cut, content.length, hash)) rest.push(chunk);
      expect(Buffer.concat(rest).equals(content.subarray(cut))).toBe(true);
      expect(sumOf(hash)).toBe(sha256(content));
    }
  });

  it('is told to be too short, and can be given up', async () => {
    await expect(readPrefix(file, content.length + 1, signal)).rejects.toThrow('the file became shorter');
    await expect(readPrefix(file, MiB, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
  });
});
