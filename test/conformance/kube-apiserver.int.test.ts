import { afterAll } from 'vitest';
import { conformanceSuite } from './suite.ts';
import type { KubeApiserver } from '../support/kube-apiserver.ts';
import { startKubeApiserver } from '../support/kube-apiserver.ts';

let running: KubeApiserver | undefined;
afterAll(async () => running?.stop());

conformanceSuite('kube-apiserver', async () => {
  running = await startKubeApiserver();
  return { url: running.server, ca: running.ca, token: running.adminToken, isEmbedded: false };
});
