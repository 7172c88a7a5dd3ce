import { appendFile, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { followFile } from '../../src/cli/follow-file.ts';

describe('following a file', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'follow-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function read(text: string, tail: number | undefined): Promise<string> {
    const path = join(folder, 'log');
    await writeFile(path, text);
    const parts: Buffer[] = [];
    for await (const part of followFile(path, { follow: false, tail, signal: new AbortController().signal })) {
      parts.push(part);
    }
    return Buffer.concat(parts).toString();
  }

  it.each([
    ['a\nb\nc\n', undefined, 'a\nb\nc\n'],
    ['a\nb\nc\n', 2, 'b\nc\n'],
    ['a\nb\nc', 2, 'b\nc'],
    ['a\nb\n', 9, 'a\nb\n'],
    ['a\nb\n', 0, ''],
    ['', 3, ''],
    [`${'x'.repeat(100_000)}\nlast\n`, 1, 'last\n'],
    [`first\n${'x'.repeat(200_000)}\n`, 1, `${'x'.repeat(200_000)}\n`],
  ])('of %j, the last %s lines', async (text, tail, expected) => {
    expect(await read(text, tail)).toBe(expected);
  });

  it('goes on with what is added, and begins anew after truncation', async () => {
    const path = join(folder, 'growing');
    await writeFile(path, 'one\n');
    const stop = new AbortController();
    const lines = followFile(path, { follow: true, signal: stop.signal });
    const next = async (): Promise<string> => String((await lines.next()).value);
    expect(await next()).toBe('one\n');
    await appendFile(path, 'two\n');
    expect(await next()).toBe('two\n');
    const third = next();
    await truncate(path, 0);
    await appendFile(path, '3\n');
    expect(await third).toBe('3\n');
    stop.abort(new Error('enough'));
    await expect(lines.next()).rejects.toThrow('enough');
  });

  it('says when there is no such file', async () => {
    const lines = followFile(join(folder, 'none'), { follow: false, signal: new AbortController().signal });
    await expect(lines.next()).rejects.toThrow('ENOENT');
  });
});
