/**
 * Makes a single executable of the command line, for hosts without Node.js: this Node.js with the bundle inside
 * (https://nodejs.org/api/single-executable-applications.html). It has all but the embedded server of `virtctl standalone`,
 * whose store is a native addon.
 *
 *   tsx scripts/build-sea.ts [FILE]      the default is dist-sea/virtctl
 */
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { inject } from 'postject';

const root = new URL('..', import.meta.url).pathname;
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
const target = resolve(process.argv[2] ?? join(root, 'dist-sea/virtctl'));

/** What Node.js looks for in itself: the mark of a place that can be filled. */
const sentinelFuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

await mkdir(dirname(target), { recursive: true });
const work = await mkdtemp(join(dirname(target), '.sea-'));
try {
  const bundle = join(work, 'virtctl.cjs');
  await build({
    absWorkingDir: root,
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    minifySyntax: true,
    minifyWhitespace: true,
    keepNames: true,
    define: { VIRTCTL_VERSION: JSON.stringify(manifest.version) },
    // Nothing can be imported inside of an executable, and nothing required but Node.js's own modules.
    supported: { 'dynamic-import': false },
    alias: {
      yaml: join(root, 'node_modules/yaml/browser/index.js'),
      lmdb: join(root, 'bin/no-store.ts'),
    },
    entryPoints: ['bin/single.ts'],
    outfile: bundle,
  });
  const blob = join(work, 'virtctl.blob');
  const config = join(work, 'sea.json');
  await writeFile(
    config,
    JSON.stringify({ main: bundle, output: blob, disableExperimentalSEAWarning: true, useCodeCache: true }),
  );
  const { NODE_OPTIONS: _, ...env } = process.env;
  await promisify(execFile)(process.execPath, ['--experimental-sea-config', config], { env, timeout: 120_000 });
  const made = join(work, 'virtctl');
  await copyFile(process.execPath, made);
  await inject(made, 'NODE_SEA_BLOB', await readFile(blob), { sentinelFuse });
  await chmod(made, 0o755);
  await rename(made, target);
} finally {
  await rm(work, { recursive: true, force: true });
}
process.stdout.write(`${target}\n`);
