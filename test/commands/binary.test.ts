import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadProgram, usualCacheFile } from '../../bin/load-program.ts';

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

  it('carries the licences of the packages inside', () => {
    const licenses = readFileSync(join(folder, 'bundle/licenses.txt'), 'utf8');
    for (const name of ['commander', 'xmlbuilder2', 'chalk', 'ora', '@kubernetes/client-node', 'saxes', 'yaml']) {
      const { version } = JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')) as {
        version: string;
      };
      expect(licenses).toContain(`\n${name} ${version} (`);
    }
    expect(licenses).toContain('Permission is hereby granted, free of charge');
  });

  it('ends an executor whose metrics cannot be served, instead of running on without them', () => {
    const kubeconfig = join(folder, 'nobody-kubeconfig');
    const [cluster, context] = ['{name: c, cluster: {server: "http://127.0.0.1:1"}}', '{cluster: c, user: ""}'];
    writeFileSync(
      kubeconfig,
      `{current-context: c, clusters: [${cluster}], contexts: [{name: c, context: ${context}}]}`,
    );
    const connect = 'qemu+unix:///system?socket=/nonexistent';
    const words = ['executor', '--metrics-address', 'nowhere', '--kubeconfig', kubeconfig, '--connect', connect];
    const ended = spawnSync(process.execPath, [virtctl, ...words], { cwd: folder, encoding: 'utf8', timeout: 120_000 });
    expect(ended).toMatchObject({ status: 2, signal: null });
    expect(ended.stderr).toContain('error: "nowhere" is no address');
  });

  it('ends by the signal that interrupted it, so that a shell stops its script', async () => {
    const silent = createServer();
    await once(silent.listen(0, '127.0.0.1'), 'listening');
    const { port } = silent.address() as AddressInfo;
    const kubeconfig = join(folder, 'silent-kubeconfig');
    const cluster = { name: 'silent', cluster: { server: `http://127.0.0.1:${port}` } };
    const context = { name: 'silent', context: { cluster: 'silent', user: 'me' } };
    const users = [{ name: 'me', user: {} }];
    writeFileSync(
      kubeconfig,
      JSON.stringify({ clusters: [cluster], contexts: [context], users, 'current-context': 'silent' }),
    );
    try {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) {
        const connected = once(silent, 'connection');
        const child = spawn(process.execPath, [virtctl, 'get', 'vm', '--kubeconfig', kubeconfig]);
        const ended = once(child, 'exit');
        const [socket] = (await connected) as [Socket];
        child.kill(signal);
        expect(await ended).toEqual([null, signal]);
        socket.destroy();
      }
    } finally {
      silent.close();
    }
  });

  it('evaluates for --help only what help needs', () => {
    const seen = join(folder, 'builtins.cjs');
    writeFileSync(
      seen,
      `const Module = require('node:module'), load = Module._load, names = [];
      Module._load = (name, ...rest) => (names.push(name), load(name, ...rest));
      process.on('exit', () => process.stderr.write(JSON.stringify(names)));`,
    );
    const { stderr } = spawnSync(process.execPath, ['--require', seen, virtctl, '--help'], { encoding: 'utf8' });
    const names = JSON.parse(stderr) as string[];
    expect(names).toContain('node:vm');
    const heavy = ['node:https', 'node:crypto', 'node:fs/promises', 'node:tls', 'node:worker_threads', 'lmdb'];
    expect(names.filter((name) => heavy.includes(name))).toEqual([]);
  });

  it('has what usual commands need in one script with a code cache, and does without a cache', () => {
    const rejected = (path: string): boolean | undefined =>
      loadProgram(path, createRequire(import.meta.url)).usual?.cachedDataRejected;
    const bundle = join(folder, 'bundle');
    expect(rejected(bundle)).toBe(false);
    const other = join(folder, 'other');
    cpSync(bundle, other, { recursive: true });
    writeFileSync(join(other, usualCacheFile), 'made by something else');
    expect(rejected(other)).toBe(true);
    const version = (): string =>
      spawnSync(process.execPath, [join(other, 'virtctl.js'), '--version'], { encoding: 'utf8' }).stdout;
    expect(version()).toBe(run(['--version']).stdout);
    rmSync(join(other, usualCacheFile));
    expect(rejected(other)).toBe(undefined);
    expect(version()).toBe(run(['--version']).stdout);
  });

  it('finds the package that is not in it, and ends on SIGTERM', async () => {
    const args = ['standalone', '--no-executor', '--port', '0', '--data-dir', join(folder, 'data')];
    const child = spawn(process.execPath, [virtctl, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = new Promise((done) => child.once('close', done));
    let stderr = '';
    for await (const chunk of child.stderr as AsyncIterable<Buffer>) {
      stderr += chunk.toString();
      // Once: the second signal ends it at once.
      if (stderr.includes('"serving"') && !child.killed) child.kill('SIGTERM');
    }
    expect({ code: await ended, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('"serving"') as string });
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
