import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MovedDisk } from '../../../src/executor/migration/migration-notes.ts';
import { prepareFiles } from '../../../src/executor/migration/receive-files.ts';
import { makeTestFolder } from '../../support/test-folder.ts';

const folder = (): string => makeTestFolder('receive-files');
const copied = (path: string): MovedDisk => ({
  ...{ target: 'vda', path, format: 'raw', copy: true, isMade: false, bytes: 4096 },
});

describe('the files that a guest’s disks are copied into', () => {
  it('are noted before they are made', async () => {
    const path = join(folder(), 'a');
    const made = new Set<string>();
    const before: (readonly string[])[] = [];
    await prepareFiles([copied(path)], made, async (paths) => {
      before.push(paths, await readdir(join(path, '..')));
    });
    expect(before).toEqual([[path], []]);
    expect([...made]).toEqual([path]);
    expect(await readFile(path)).toHaveLength(4096);
  });

  it('are made anew where they were noted, and whoever made them was killed', async () => {
    const path = join(folder(), 'a');
    await writeFile(path, 'half');
    await prepareFiles([copied(path)], new Set([path]), () => Promise.resolve());
    expect(await readFile(path)).toHaveLength(4096);
  });

  it('are not made where somebody’s file is', async () => {
    const path = join(folder(), 'a');
    await writeFile(path, 'precious');
    const made = new Set<string>();
    const noted: (readonly string[])[] = [];
    const note = (paths: readonly string[]): Promise<void> => Promise.resolve(void noted.push(paths));
    await expect(prepareFiles([copied(path)], made, note)).rejects.toThrow(`${path} exists there`);
    expect([await readFile(path, 'utf8'), [...made], noted]).toEqual(['precious', [], []]);
  });

  it('are not made over a file that somebody makes after it was looked for', async () => {
    const path = join(folder(), 'a');
    const made = new Set<string>();
    const note = (): Promise<void> => writeFile(path, 'precious');
    await expect(prepareFiles([copied(path)], made, note)).rejects.toThrow(`${path} exists there`);
    expect([await readFile(path, 'utf8'), [...made]]).toEqual(['precious', []]);
  });

  it('have to be there when they are not copied', async () => {
    const path = join(folder(), 'a');
    const disk = { ...copied(path), copy: false };
    await expect(prepareFiles([disk], new Set(), () => Promise.resolve())).rejects.toThrow(`${path} is not there`);
  });
});
