/** A process of the embedded server for tests that kill it: `serve.ts FOLDER PORT`. Prints its URL when it serves. */
import process from 'node:process';
import { silentLogger } from '../../src/base/logger.ts';
import { definitionOfCrd } from '../../src/standalone/kinds/crd-definition.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer } from '../../src/standalone/server.ts';
import { gadgets, widgets } from '../conformance/widgets.ts';

const [folder, port] = process.argv.slice(2);
if (folder === undefined || port === undefined) throw new Error('usage: serve.ts FOLDER PORT');
const server = await startApiServer({
  folder,
  port: Number(port),
  definitions: [definitionOfCrd(widgets), definitionOfCrd(gadgets), ...virtctlKinds()],
  logger: silentLogger,
  version: 'test',
});
process.stdout.write(`${server.url}\n`);
