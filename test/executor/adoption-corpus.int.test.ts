import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adoptCorpus, domainCorpus } from '../support/adopt-corpus.ts';
import { AdoptingHost } from '../support/adopting-host.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';

describe.skipIf(!existsSync(domainCorpus))("virtctl adopt of libvirt's own test domains", () => {
  let node: ExecutorNode;

  beforeAll(async () => {
    node = await startExecutorNode();
  });
  afterAll(async () => {
    await node.close();
  });

  it('changes nothing, and later only what is asked for (npm run soak -- adoption takes all of them)', async () => {
    const { documents, defined, adopted, refused } = await adoptCorpus(new AdoptingHost(node), 10);
    expect(documents).toBeGreaterThan(50);
    expect(defined).toBeGreaterThan(25);
    // Libvirt takes one MAC address for several cards of a domain; we do not.
    expect(refused.filter((line) => !line.includes('the MAC address'))).toEqual([]);
    expect(adopted).toBe(defined - new Set(refused.map((line) => /domain (\S+):/.exec(line)?.[1])).size);
  });
});
