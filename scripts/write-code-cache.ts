/**
 * Runs a bundle's usual ways once and keeps what V8 compiled for them in its code cache. scripts/build.ts bundles this
 * file and runs it with plain Node.js: a cache is good for the V8 and the flags that made it.
 *
 *   node write-code-cache.mjs FOLDER
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { codeCacheFile, loadProgram } from '../bin/load-program.ts';

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
const server = createServer((request, response) => {
  const asTable = (request.headers.accept ?? '').includes('as=Table');
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(asTable ? table : object));
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');

const scratch = mkdtempSync(join(tmpdir(), 'virtctl-build-'));
try {
  const kubeconfig = join(scratch, 'kubeconfig');
  const { port } = server.address() as AddressInfo;
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      'current-context': 'build',
      clusters: [{ name: 'build', cluster: { server: `http://127.0.0.1:${port}` } }],
      contexts: [{ name: 'build', context: { cluster: 'build' } }],
    }),
  );
  const program = loadProgram(folder);
  const { main } = program.start(createRequire(import.meta.url));
  for (const words of [['--help'], ['get', 'vm', '--kubeconfig', kubeconfig]]) {
    await main(words);
    if (process.exitCode !== 0) throw new Error(`virtctl ${words.join(' ')} ended with ${String(process.exitCode)}`);
  }
  writeFileSync(join(folder, codeCacheFile), program.script.createCachedData());
} finally {
  server.close();
  rmSync(scratch, { recursive: true });
}
