import { rm } from 'node:fs/promises';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { kinds } from '../../src/api/kinds.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { definitionOfCrd } from '../../src/standalone/kinds/crd-definition.ts';
import { startApiServer } from '../../src/standalone/server.ts';
import { makeTestFolder } from '../support/test-folder.ts';
import { resourceCommandCases } from './resource-command-cases.ts';

resourceCommandCases(async () => {
  const folder = makeTestFolder('resource-commands');
  const definitions = kinds.map((kind) => definitionOfCrd(customResourceDefinition(kind)));
  const server = await startApiServer({ folder, definitions, logger: silentLogger, version: 'test' });
  return {
    kubeconfigPath: server.kubeconfig,
    async stop() {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
});
