import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { BrokenFileError, decompress } from '../../../src/executor/virtual-image/decompress.ts';
import { inspectImage } from '../../../src/executor/virtual-image/inspect-image.ts';
import { copyIn, verify } from '../../../src/executor/virtual-image/receive-file.ts';
import { makeTestFolder } from '../../support/test-folder.ts';

const run = promisify(execFile);
const { signal } = new AbortController();
const GiB = 1024 ** 3;

describe('an image that qemu-img knows', () => {
  const folder = makeTestFolder('inspect');
  const create = (name: string, ...args: string[]) =>
    run('qemu-img', ['create', '-q', ...args, join(folder, name), '1M']);

  it.each(['qcow2', 'raw', 'vmdk', 'vdi', 'vhdx', 'vpc'])('is taken as %s', async (format) => {
    await create(`good.${format}`, '-f', format);
    const found = await inspectImage(join(folder, `good.${format}`), format === 'raw' ? 'raw' : undefined, GiB, signal);
    expect(found.format).toBe(format);
  });

  it('is refused when it names files of the host, in each of the ways that formats have', async () => {
    await create('backing', '-f', 'qcow2', '-u', '-b', '/etc/passwd', '-F', 'raw');
    await create('json', '-f', 'qcow2', '-u', '-b', 'json:{"driver":"file","filename":"/etc/passwd"}', '-F', 'raw');
    await create('web', '-f', 'qcow2', '-u', '-b', 'http://127.0.0.1:1/x', '-F', 'raw');
    await create('data', '-f', 'qcow2', '-o', `data_file=${join(folder, 'elsewhere')},data_file_raw=on`);
    await create('parts', '-f', 'vmdk', '-o', 'subformat=monolithicFlat');
    await writeFile(
      join(folder, 'flat'),
      '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n' +
        'RW 1 FLAT "/etc/passwd" 0\n',
    );
    for (const name of ['backing', 'json', 'web', 'data', 'parts', 'flat']) {
      const refused = await inspectImage(join(folder, name), undefined, GiB, signal).catch((error: unknown) => error);
      expect([name, refused]).toEqual([name, expect.objectContaining({ reason: 'UnsafeImage', isFinal: true })]);
    }
  });

  it('is refused when its disk is absurdly large, its header is broken, or it is none', async () => {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', join(folder, 'large'), '100T']);
    await expect(inspectImage(join(folder, 'large'), undefined, GiB, signal)).rejects.toThrow('100Ti large');
    await writeFile(
      join(folder, 'broken'),
      Buffer.concat([Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), randomBytes(500)]),
    );
    await expect(inspectImage(join(folder, 'broken'), undefined, GiB, signal)).rejects.toMatchObject({
      reason: 'UnknownFormat',
    });
    await expect(inspectImage(join(folder, 'absent'), undefined, GiB, signal)).rejects.toMatchObject({
      reason: 'UnknownFormat',
    });
  });
});

describe('an image that is unpacked', () => {
  const folder = makeTestFolder('unpack');

  it('is what was packed, with each of the programs, and what is not packed stays as it is', async () => {
    const data = randomBytes(100_000);
    await writeFile(join(folder, 'plain'), data);
    expect(await decompress(join(folder, 'plain'), join(folder, 'out'), 'auto', GiB, signal)).toBe(
      join(folder, 'plain'),
    );
    await writeFile(join(folder, 'a.gz'), gzipSync(data));
    await run('xz', ['-k', join(folder, 'plain')]);
    await run('zstd', ['-q', '-k', join(folder, 'plain')]);
    for (const [name, word] of [
      ['a.gz', 'gz'],
      ['plain.xz', 'xz'],
      ['plain.zst', 'zst'],
    ] as const) {
      const out = await decompress(join(folder, name), join(folder, `${word}.out`), 'auto', GiB, signal);
      expect((await readFile(out)).equals(data)).toBe(true);
    }
    await expect(decompress(join(folder, 'a.gz'), join(folder, 'o'), 'xz', GiB, signal)).rejects.toThrow('as xz');
  });

  it('is stopped at the limit when it is a bomb, and leaves nothing', async () => {
    await writeFile(join(folder, 'bomb.gz'), gzipSync(Buffer.alloc(64 * 1024 * 1024)));
    const out = join(folder, 'bomb.out');
    const bomb = decompress(join(folder, 'bomb.gz'), out, 'auto', 1024 * 1024, signal);
    await expect(bomb).rejects.toMatchObject({ reason: 'UnsafeImage', isFinal: true });
    expect([existsSync(out), existsSync(`${out}.part`)]).toEqual([false, false]);
  });

  it('is told broken when it was cut off', async () => {
    const packed = gzipSync(randomBytes(100_000));
    await writeFile(join(folder, 'cut.gz'), packed.subarray(0, 50_000));
    const cut = decompress(join(folder, 'cut.gz'), join(folder, 'cut.out'), 'auto', GiB, signal);
    await expect(cut).rejects.toBeInstanceOf(BrokenFileError);
    await expect(cut).rejects.toThrow('cannot unpack it');
    expect(existsSync(join(folder, 'cut.out'))).toBe(false);
  });
});

describe('a file of the node', () => {
  const folder = makeTestFolder('copy');

  it('is refused when it has no end, or is too large, and never by a link to such', async () => {
    await symlink('/dev/zero', join(folder, 'link'));
    await run('mkfifo', [join(folder, 'pipe')]);
    for (const from of ['/dev/zero', join(folder, 'link'), join(folder, 'pipe'), folder]) {
      await expect(copyIn(from, join(folder, 'to'), GiB)).rejects.toMatchObject({ reason: 'UnsafeImage' });
    }
    await writeFile(join(folder, 'large'), 'four');
    await expect(copyIn(join(folder, 'large'), join(folder, 'to'), 3)).rejects.toMatchObject({ reason: 'UnsafeImage' });
    await expect(copyIn(join(folder, 'none'), join(folder, 'to'), 3)).rejects.toMatchObject({
      reason: 'SourceNotReady',
    });
    await copyIn(join(folder, 'large'), join(folder, 'to'), 4);
    expect((await stat(join(folder, 'to'))).size).toBe(4);
  });

  it('has to have the checksum that is asked for, however that is written', async () => {
    const file = join(folder, 'sum');
    await writeFile(file, 'abc');
    const sha256 = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
    expect(await verify(file, sha256.toUpperCase().replace('SHA256', 'sha256'), signal)).toBe(sha256);
    expect(await verify(file, 'none', signal)).toBe(sha256);
    expect(await verify(file, `sha512:${'0'.repeat(128)}`, signal).catch((error: unknown) => error)).toMatchObject({
      reason: 'ChecksumMismatch',
      isFinal: true,
    });
  });
});
