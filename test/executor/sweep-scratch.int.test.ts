import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sweepScratch } from '../../src/executor/plan/sweep-scratch.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { openLibvirt, type Libvirt } from '../../src/libvirt/libvirt.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import { ManualClock } from '../support/manual-clock.ts';

describe('what killed plans left behind', () => {
  let node: LibvirtdNode;
  let libvirt: Libvirt;
  const { signal } = new AbortController();

  beforeAll(async () => {
    node = await startLibvirtd();
    libvirt = await openLibvirt(node.uri);
  });
  afterAll(async () => {
    await libvirt.close();
    await node.close();
  });

  const define = (name: string): Promise<unknown> =>
    libvirt.domains.defineXml(
      `<domain type='qemu'><name>${name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>`,
    );
  const names = async (): Promise<string[]> => (await libvirt.domains.list()).map(({ name }) => name).sort();

  it('goes when it is still there a minute later, and nothing else does', async () => {
    for (const name of ['virtctl-plan-left', 'virtctl-plan-quick', 'shop.web']) await define(name);
    const clock = new ManualClock();
    const sweep = sweepScratch(libvirt, clock, silentLogger, signal);
    await expect.poll(() => clock.sleeping).toBe(1);
    expect(await names()).toEqual(['shop.web', 'virtctl-plan-left', 'virtctl-plan-quick']);
    // A plan that is being made takes its own away.
    await (await libvirt.domains.byName('virtctl-plan-quick')).undefine();
    await clock.advance(60_000);
    await sweep;
    expect(await names()).toEqual(['shop.web']);
  });
});
