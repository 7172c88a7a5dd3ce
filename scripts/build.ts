/**
 * Bundles bin/virtctl.ts, with a chunk of its own for whatever a command loads lazily.
 *
 *   tsx scripts/build.ts [FOLDER]      the default is dist/
 */
import { chmod, readFile, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import process from 'node:process';
import { build } from 'esbuild';

const manifest = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
const root = new URL('..', import.meta.url).pathname;

const outdir = resolve(process.argv[2] ?? `${root}dist`);

await rm(outdir, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: { virtctl: 'bin/virtctl.ts' },
  outdir,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  keepNames: true,
  sourcemap: false,
  chunkNames: 'chunks/[name]-[hash]',
  define: { VIRTCTL_VERSION: JSON.stringify(manifest.version) },
  // Native addon: stays a dependency beside the bundle.
  external: ['lmdb'],
  // yaml's build for Node.js is CommonJS, whose names a lazy import in a bundle does not have; this one is a module.
  alias: { yaml: `${root}node_modules/yaml/browser/index.js` },
  // CommonJS dependencies inside an ES module bundle call require for Node's own modules.
  banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
});
await chmod(`${outdir}/virtctl.js`, 0o755);
