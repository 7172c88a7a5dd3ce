import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);

interface Manifest {
  readonly version: string;
  readonly files: readonly string[];
}

describe('what is given to others', () => {
  let folder: string;
  let manifest: Manifest;
  /** No PATH but Node.js's own, no home, no registry. */
  let env: NodeJS.ProcessEnv;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtctl-package-'));
    manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Manifest;
    env = {
      PATH: process.env['PATH'],
      HOME: folder,
      npm_config_cache: join(folder, 'npm-cache'),
      npm_config_registry: 'http://127.0.0.1:1/',
      npm_config_update_notifier: 'false',
    };
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const tsx = (script: string, ...args: readonly string[]): Promise<unknown> =>
    run(process.execPath, ['--import', 'tsx', join(root, 'scripts', script), ...args], { cwd: root });

  it('packs a package whose npx virtctl works in an empty folder, without a registry', async () => {
    // Beside the tree, which others may be building in.
    const stage = join(folder, 'stage');
    await mkdir(stage);
    for (const name of ['package.json', 'README.md', 'LICENSE', 'deploy', 'docs']) {
      await cp(join(root, name), join(stage, name), { recursive: true });
    }
    await tsx('build.ts', join(stage, 'dist'));
    const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
    const [packed] = JSON.parse((await run('npm', pack, { cwd: stage, env })).stdout) as [
      { readonly filename: string; readonly files: readonly { readonly path: string }[] },
    ];
    const paths = packed.files.map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(['dist/virtctl.js', 'deploy/systemd/virtctl-executor.service']));
    expect(paths.filter((path) => /^(src|test|scripts|bench|node_modules)\//.test(path))).toEqual([]);
    const empty = join(folder, 'empty');
    await mkdir(empty);
    await writeFile(join(empty, 'package.json'), '{ "private": true }\n');
    const install = [
      'install',
      '--offline',
      '--omit=optional',
      '--no-audit',
      '--no-fund',
      join(folder, packed.filename),
    ];
    await run('npm', install, { cwd: empty, env });
    // Nothing comes along but, where it can be had, the store of the embedded server.
    expect((await readdir(join(empty, 'node_modules'))).filter((name) => !name.startsWith('.'))).toEqual(['virtctl']);
    const npx = await run('npx', ['--no-install', 'virtctl', 'version'], { cwd: empty, env });
    expect(npx.stdout).toBe(`${manifest.version}\n`);
    const help = await run('npx', ['--no-install', 'virtctl', 'install', '--dry-run', '-o', 'name'], {
      cwd: empty,
      env,
    });
    expect(help.stdout).toContain('deployment.apps/virtctl-controller');
  });

  it('makes a single executable that needs no Node.js', async () => {
    const file = join(folder, 'bin/virtctl');
    await tsx('build-sea.ts', file);
    const xml = join(folder, 'a.xml');
    await writeFile(xml, "<domain type='kvm'><name>a</name><memory>1024</memory><os><type>hvm</type></os></domain>");
    const bare = { cwd: folder, env: { PATH: '/nonexistent', HOME: folder } };
    expect((await run(file, ['version'], bare)).stdout).toBe(`${manifest.version}\n`);
    expect((await run(file, ['convert', xml], bare)).stdout).toContain('kind: VirtualMachine\nmetadata:\n  name: a\n');
    await expect(run(file, ['standalone', '--data-dir', join(folder, 'data')], bare)).rejects.toThrow(
      'the single executable has no embedded server',
    );
    await expect(run(file, ['nonsense'], bare)).rejects.toMatchObject({ code: 2 });
  });
});
