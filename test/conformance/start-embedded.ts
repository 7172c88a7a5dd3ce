import { silentLogger } from '../../src/base/logger.ts';
import { definitionOfCrd } from '../../src/standalone/kinds/crd-definition.ts';
import type { ApiServer } from '../../src/standalone/server.ts';
import { startApiServer } from '../../src/standalone/server.ts';
import type { HistoryLimits } from '../../src/standalone/storage/history.ts';
import { makeTestFolder } from '../support/test-folder.ts';
import { gadgets, widgets } from './widgets.ts';

/** Starts the embedded server with the suite's kinds, in a folder of its own. */
export function startEmbedded(
  name: string,
  history?: HistoryLimits,
  folder = makeTestFolder(name),
): Promise<ApiServer> {
  return startApiServer({
    folder,
    definitions: [definitionOfCrd(widgets), definitionOfCrd(gadgets)],
    logger: silentLogger,
    version: 'test',
    ...(history === undefined ? {} : { history }),
  });
}
