/**
 * Bundles the command line into a folder that runs by itself, but for lmdb, which is looked for above it:
 *
 *   virtctl.js     what is called: finds and starts the rest (bin/launch.ts, bin/load-program.ts)
 *   program/       everything else (bin/main.ts), a CommonJS file for whatever a command loads lazily or several share
 *   usual.js       those of these modules that usual commands need, in one script
 *   usual.cache    V8's code cache of it; may be missing, and is ignored by another version of V8
 *   package.json   says that these are CommonJS modules
 *   licenses.txt   of the packages inside
 *
 *   tsx scripts/build.ts [FOLDER]      the default is dist/
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { build, transform, type BuildOptions } from 'esbuild';
import { thirdPartyLicenses } from './third-party-licenses.ts';
import { modulesFolder } from '../bin/load-program.ts';

const manifest = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
const root = new URL('..', import.meta.url).pathname;
const outdir = resolve(process.argv[2] ?? join(root, 'dist'));

const options = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  keepNames: true,
  define: { VIRTCTL_VERSION: JSON.stringify(manifest.version) },
  // Native addon: stays a dependency beside the bundle.
  external: ['lmdb'],
  // yaml's build for Node.js is CommonJS, whose names a lazy import in a bundle does not have; this one is a module.
  alias: { yaml: join(root, 'node_modules/yaml/browser/index.js') },
} satisfies BuildOptions;

await rm(outdir, { recursive: true, force: true });
await build({ ...options, format: 'cjs', entryPoints: ['bin/launch.ts'], outfile: join(outdir, 'virtctl.js') });
await chmod(join(outdir, 'virtctl.js'), 0o755);
await writeFile(join(outdir, 'package.json'), '{ "type": "commonjs" }\n');
await writeModules(join(outdir, modulesFolder));

const packer = join(outdir, 'pack-usual-modules.mjs');
await build({ ...options, format: 'esm', entryPoints: ['scripts/pack-usual-modules.ts'], outfile: packer });
const { NODE_OPTIONS: _, ...env } = process.env;
await promisify(execFile)(process.execPath, [packer, outdir], { env, timeout: 60_000 });
await rm(packer);

/** esbuild splits only ES modules; each is made a CommonJS module after that. */
async function writeModules(folder: string): Promise<void> {
  await mkdir(folder);
  const { outputFiles, metafile } = await build({
    ...options,
    format: 'esm',
    entryPoints: ['bin/main.ts'],
    outdir: folder,
    splitting: true,
    write: false,
    metafile: true,
  });
  await writeFile(join(outdir, 'licenses.txt'), await thirdPartyLicenses(metafile, root));
  for (const { path, text } of outputFiles) {
    const { code } = await transform(text, {
      format: 'cjs',
      platform: 'node',
      target: options.target,
      minifyWhitespace: true,
      // A module that is loaded lazily is required, too.
      supported: { 'dynamic-import': false },
    });
    await writeFile(join(folder, basename(path)), inAscii(code));
  }
}

/** esbuild escapes what is not ASCII everywhere but in regular expressions, where the same escape means the same. */
function inAscii(text: string): string {
  // eslint-disable-next-line no-control-regex -- ASCII begins with control characters
  return text.replaceAll(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
