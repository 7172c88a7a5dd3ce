/**
 * Makes what integration tests share, before any of them runs: the guest and the kube-apiserver, in node_modules/.cache.
 * Test files run at the same time, and none of them should build for minutes, or wait for apt, because it is the first.
 * What cannot be made is told by the tests that need it.
 */
import { join } from 'node:path';
import process from 'node:process';
import { buildGuest } from './guest/build-guest.ts';
import { findKubeApiserver } from './kube-apiserver.ts';

const parts: Readonly<Record<string, () => Promise<unknown>>> = {
  'the guest': () => buildGuest(join(import.meta.dirname, '../node_modules/.cache/virtctl-guest')),
  'the kube-apiserver': () => findKubeApiserver(process.env),
};

// One after the other: both may ask apt.
for (const [name, make] of Object.entries(parts)) {
  try {
    await make();
  } catch (error) {
    process.stderr.write(`warning: cannot make ${name} for the tests: ${String(error)}\n`);
  }
}
