import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
// Inside node_modules, so that the bundle finds the one package that is not in it.
const folder = join(root, `node_modules/.cache/virtctl-binary-test-${process.pid}`);
const virtctl = join(folder, 'bundle/virtctl.js');

beforeAll(() => {
  const build = join(root, 'scripts/build.ts');
  const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', build, join(folder, 'bundle')], {
    cwd: root,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(args: readonly string[], input = ''): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [virtctl, ...args], { cwd: folder, input, encoding: 'utf8' });
}

describe('the bundle', () => {
  it('shows its version and its help', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(run(['--version'])).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' });
    expect(run(['--help']).stdout).toContain('convert');
  });

  it('reads little more than commander for --help', () => {
    // What is imported before anything is called, all chunks together.
    const seen = new Set<string>();
    let bytes = 0;
    const visit = (path: string): void => {
      if (seen.has(path)) return;
      seen.add(path);
      const text = readFileSync(path, 'utf8');
      bytes += text.length;
      for (const match of text.matchAll(/(?:from|import)\s*"(\.[^"]+)"/g)) visit(resolve(path, '..', match[1] ?? ''));
    };
    visit(virtctl);
    expect(bytes).toBeGreaterThan(20_000);
    expect(bytes).toBeLessThan(150_000);
  });

  it('converts standard input both ways', () => {
    const xml = readFileSync(join(root, 'docs/examples/web.xml'), 'utf8');
    const yaml = run(['convert', '-'], xml);
    expect(yaml).toMatchObject({ status: 0, stderr: '' });
    expect(yaml.stdout).toBe(readFileSync(join(root, 'docs/examples/web.yaml'), 'utf8'));
    expect(run(['convert', '--check', '-'], yaml.stdout)).toMatchObject({ status: 0, stdout: '' });
  });

  it('ends with 8 and one line for bad input, and with 2 for a bad command line', () => {
    const bad = run(['convert', '-'], 'domain:\n  nmae: x\n');
    expect(bad).toMatchObject({ status: 8, stdout: '' });
    expect(bad.stderr).toBe('error: -:2:3: domain.nmae: unknown key; did you mean name?\n');
    expect(run(['convert']).status).toBe(2);
    expect(run(['convert', '-o', 'toml', '-']).status).toBe(2);
  });

  it('converts thousands of files in one process, without a progress line into a pipe', () => {
    const xml = readFileSync(join(root, 'docs/examples/web.xml'), 'utf8');
    mkdirSync(join(folder, 'many'));
    for (let index = 0; index < 3000; index += 1) writeFileSync(join(folder, 'many', `m${index}.xml`), xml);
    const { status, stderr } = run(['convert', 'many', '--output-dir', 'out']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(readdirSync(join(folder, 'out'))).toHaveLength(3000);
  });

  it('ends quietly when its reader goes away', async () => {
    const child = spawn(process.execPath, [virtctl, 'convert', 'many'], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdout.once('data', () => child.stdout.destroy());
    const code = await new Promise((done) => child.once('close', done));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('reads a pipe that is named as a file', () => {
    const { status, stdout } = spawnSync(
      'bash',
      ['-c', `"$0" "$1" convert <(cat "$2")`, process.execPath, virtctl, join(root, 'docs/examples/web.xml')],
      {
        encoding: 'utf8',
      },
    );
    expect(status).toBe(0);
    expect(stdout).toContain('kind: VirtualMachine');
  });
});
