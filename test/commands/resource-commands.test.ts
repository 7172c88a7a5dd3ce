import { rm } from 'node:fs/promises';
import { silentLogger } from '../../src/base/logger.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer } from '../../src/standalone/server.ts';
import { makeTestFolder } from '../support/test-folder.ts';
import { resourceCommandCases } from './resource-command-cases.ts';

resourceCommandCases(async () => {
  const folder = makeTestFolder('resource-commands');
  const server = await startApiServer({ folder, definitions: virtctlKinds(), logger: silentLogger, version: 'test' });
  return {
    kubeconfigPath: server.kubeconfig,
    async stop() {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
});
