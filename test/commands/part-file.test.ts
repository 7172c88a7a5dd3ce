import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PartFile } from '../../src/commands/image/part-file.ts';

describe('a file that is being downloaded', () => {
  let folder: string;
  let target: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtctl-part-'));
    target = join(folder, 'disk.raw');
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function write(content: string): Promise<PartFile> {
    const part = await PartFile.create(target);
    await part.handle.writeFile(content);
    return part;
  }

  it('has its name when it is whole, and leaves what others called FILE.part alone', async () => {
    await writeFile(`${target}.part`, "the user's");
    await symlink('/nowhere', join(folder, 'link.part'));
    const part = await write('whole');
    expect(await readdir(folder)).not.toContain('disk.raw');
    await part.keep(false);
    expect((await readdir(folder)).sort()).toEqual(['disk.raw', 'disk.raw.part', 'link.part']);
    expect(await readFile(target, 'utf8')).toBe('whole');
    expect(await readFile(`${target}.part`, 'utf8')).toBe("the user's");
  });

  it('may be downloaded twice at the same time: the second takes the name of none', async () => {
    const [first, second] = [await write('first'), await write('second')];
    await first.keep(false);
    await expect(second.keep(false)).rejects.toThrow(/disk\.raw was made by somebody else meanwhile/);
    await second.discard();
    expect(await readdir(folder)).toEqual(['disk.raw']);
    expect(await readFile(target, 'utf8')).toBe('first');
  });

  it('takes the place of a file where that is meant', async () => {
    await writeFile(target, 'old');
    await (await write('new')).keep(true);
    expect([await readdir(folder), await readFile(target, 'utf8')]).toEqual([['disk.raw'], 'new']);
  });

  it('leaves nothing when it is given up', async () => {
    await (await write('half')).discard();
    expect(await readdir(folder)).toEqual([]);
  });
});
