/**
 * Runs a bundle's usual commands, puts the modules that they need into one script, runs them again and keeps what V8
 * compiled for them in its code cache. scripts/build.ts bundles this file and runs it with plain Node.js: a cache is good
 * for the V8 and the flags that made it.
 *
 *   node pack-usual-modules.mjs FOLDER
 */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { loadProgram, moduleParameters, modulesFolder, usualCacheFile, usualFile } from '../bin/load-program.ts';
import { socketExtension } from '../src/kube/kubeconfig.ts';

const folder = process.argv[2] ?? '';
const object = { kind: 'VirtualMachine', apiVersion: 'virtctl.dev/v1alpha1', metadata: { name: 'a', namespace: 'b' } };
const table = {
  kind: 'Table',
  apiVersion: 'meta.k8s.io/v1',
  metadata: { resourceVersion: '1' },
  columnDefinitions: [{ name: 'Name', type: 'string', format: 'name', description: '', priority: 0 }],
  rows: [{ cells: ['a'], object }],
};

/** An API server that has one machine. */
const server = createServer((_request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(table));
});
const scratch = mkdtempSync(join(tmpdir(), 'virtctl-build-'));
try {
  const path = join(scratch, 'socket');
  server.listen(path);
  await once(server, 'listening');
  const kubeconfig = join(scratch, 'kubeconfig');
  // As a local standalone's.
  const address = 'https://127.0.0.1:1';
  const extensions = [{ name: socketExtension, extension: { path, server: address } }];
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      'current-context': 'build',
      clusters: [{ name: 'build', cluster: { server: address, extensions } }],
      contexts: [{ name: 'build', context: { cluster: 'build' } }],
    }),
  );
  const usual = [['--help'], ['get', 'vm', '--kubeconfig', kubeconfig]];
  const { loaded } = await run(usual);
  const functions = [...loaded.keys()].map((file) => {
    const path = join(folder, modulesFolder, file);
    const text = readFileSync(path, 'latin1');
    rmSync(path);
    return `${JSON.stringify(file)}: function (${moduleParameters.join(', ')}) {${text}\n}`;
  });
  writeFileSync(join(folder, usualFile), `({\n${functions.join(',\n')}\n})`);
  const packed = await run(usual);
  if (packed.usual === undefined) throw new Error(`${usualFile} is not there`);
  writeFileSync(join(folder, usualCacheFile), packed.usual.createCachedData());
} finally {
  server.close();
  rmSync(scratch, { recursive: true });
}

async function run(commands: readonly (readonly string[])[]): Promise<ReturnType<typeof loadProgram>> {
  const program = loadProgram(folder, createRequire(import.meta.url));
  const { main } = program.start();
  for (const words of commands) {
    await main(words);
    if (process.exitCode !== 0) throw new Error(`virtctl ${words.join(' ')} ended with ${String(process.exitCode)}`);
  }
  return program;
}
