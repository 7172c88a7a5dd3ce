import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { startFakeApiServer } from '../support/fake-api-server.ts';
import { makeTestFolder } from '../support/test-folder.ts';

describe('warnings of the API server', () => {
  it('are shown on stderr once each, on one line, as kubectl shows them', async () => {
    const server = await startFakeApiServer((_request, response) => {
      response.setHeader('Content-Type', 'application/json');
      response.setHeader('Warning', [
        '299 - "virtctl.dev/v1alpha1 is \\"old\\""',
        '299 - "virtctl.dev/v1alpha1 is \\"old\\""',
        '299 - "unknown field \u009b31m spec.x"',
      ]);
      response.end(
        JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 404, reason: 'NotFound' }),
      );
      response.statusCode = 404;
    });
    try {
      const folder = makeTestFolder('warnings');
      const kubeconfig = join(folder, 'kubeconfig');
      const config = {
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': 'fake',
        contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'fake' } }],
        clusters: [{ name: 'fake', cluster: { server: server.url } }],
        users: [{ name: 'fake', user: {} }],
      };
      await writeFile(kubeconfig, JSON.stringify(config));
      const result = await commandLine(['get', 'vm', 'web', '-o', 'json', '--kubeconfig', kubeconfig], { cwd: folder });
      const warnings = result.stderr.split('\n').filter((line) => line.startsWith('Warning: '));
      expect(warnings).toEqual(['Warning: virtctl.dev/v1alpha1 is "old"', 'Warning: unknown field  31m spec.x']);
    } finally {
      await server.close();
    }
  });
});
