import { afterAll } from 'vitest';
import { conformanceSuite } from './suite.ts';
import { startEmbedded } from './start-embedded.ts';
import type { ApiServer } from '../../src/standalone/server.ts';

let running: ApiServer | undefined;
afterAll(async () => running?.close());

conformanceSuite('the embedded API server', async () => {
  running = await startEmbedded('conformance', { maxEvents: 400, maxBytes: 16 * 1024 * 1024 });
  return { url: running.url, ca: running.authority, token: running.token, isEmbedded: true };
});
