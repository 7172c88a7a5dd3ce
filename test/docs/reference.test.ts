import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'virtctl-reference-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('docs/reference', () => {
  it('is what scripts/generate-reference.ts writes', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', join(root, 'scripts/generate-reference.ts'), folder],
      { cwd: root, encoding: 'utf8' },
    );
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const fresh = readdirSync(folder).sort();
    expect(readdirSync(join(root, 'docs/reference')).sort()).toEqual(fresh);
    const stale = fresh.filter(
      (name) => readFileSync(join(folder, name), 'utf8') !== readFileSync(join(root, 'docs/reference', name), 'utf8'),
    );
    // Not the contents: they are long. `npx tsx scripts/generate-reference.ts` writes them anew.
    expect(stale).toEqual([]);
  });
});

describe('the example machine', () => {
  const example = (name: string): string => readFileSync(join(root, 'docs/examples', name), 'utf8');

  it.each(['yaml', 'json'])('is in %s what virtctl convert writes', async (format) => {
    const { stdout } = await commandLine(['convert', 'docs/examples/web.xml', '-o', format], { cwd: root });
    expect(example(`web.${format}`)).toBe(stdout);
  });

  it.each(['xml', 'yaml', 'json'])('stands in docs/libvirt-%s.md as it is', (format) => {
    const block = /^```\w+\n([\s\S]*?)^```/m.exec(readFileSync(join(root, `docs/libvirt-${format}.md`), 'utf8'))?.[1];
    expect(block).toBe(example(`web.${format}`));
  });
});

describe('the documentation', () => {
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md') && !name.startsWith('reference/libvirt-'))
      .map((name) => `docs/${name}`),
  ];

  it.each(pages)('has no dead link in %s', (page) => {
    const text = readFileSync(join(root, page), 'utf8').replaceAll(/```[\s\S]*?```|`[^`\n]*`/g, '');
    const targets = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map((match) => match[1] ?? '');
    const dead = targets.filter((target) => !/^[a-z]+:/.test(target) && !exists(resolve(root, page, '..', target)));
    expect(dead).toEqual([]);
  });
});

function exists(path: string): boolean {
  const name = path.split('/').pop() ?? '';
  return readdirSync(join(path, '..')).includes(name);
}
