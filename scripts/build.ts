/**
 * Bundles the command line into a folder that runs by itself, but for lmdb, which is looked for above it:
 *
 *   virtctl.js      what is called: compiles and starts the program (bin/launch.ts)
 *   program.js      everything else in one CommonJS file; what a command does not need stays unevaluated (bin/main.ts)
 *   program.cache   what V8 made of the usual ways through it; may be missing, and is ignored by another version of V8
 *   package.json    says that these are CommonJS modules
 *
 *   tsx scripts/build.ts [FOLDER]      the default is dist/
 */
import { execFile } from 'node:child_process';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { build, type BuildOptions } from 'esbuild';
import { programFile } from '../bin/load-program.ts';

const manifest = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
const root = new URL('..', import.meta.url).pathname;
const outdir = resolve(process.argv[2] ?? join(root, 'dist'));

const options = {
  absWorkingDir: root,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  keepNames: true,
  define: { VIRTCTL_VERSION: JSON.stringify(manifest.version) },
  // Native addon: stays a dependency beside the bundle.
  external: ['lmdb'],
  // Also lmdb is required, not imported: a script with a code cache cannot import.
  supported: { 'dynamic-import': false },
  // yaml's build for Node.js is CommonJS, whose names a lazy import in a bundle does not have; this one is a module.
  alias: { yaml: join(root, 'node_modules/yaml/browser/index.js') },
} satisfies BuildOptions;

await rm(outdir, { recursive: true, force: true });
await build({ ...options, entryPoints: ['bin/launch.ts'], outfile: join(outdir, 'virtctl.js') });
await chmod(join(outdir, 'virtctl.js'), 0o755);
await writeFile(join(outdir, 'package.json'), '{ "type": "commonjs" }\n');

const { outputFiles } = await build({ ...options, entryPoints: ['bin/main.ts'], write: false });
await writeFile(join(outdir, programFile), outputFiles.map(({ text }) => inAscii(text)).join(''));

const writer = join(outdir, 'write-code-cache.mjs');
await build({ ...options, format: 'esm', entryPoints: ['scripts/write-code-cache.ts'], outfile: writer });
const { NODE_OPTIONS: _, ...env } = process.env;
await promisify(execFile)(process.execPath, [writer, outdir], { env, timeout: 60_000 });
await rm(writer);

/** esbuild escapes what is not ASCII everywhere but in regular expressions, where the same escape means the same. */
function inAscii(text: string): string {
  // eslint-disable-next-line no-control-regex -- ASCII begins with control characters
  return text.replaceAll(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
