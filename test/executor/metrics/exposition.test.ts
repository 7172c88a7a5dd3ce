import { afterEach, describe, expect, it } from 'vitest';
import { Counter, expose, Histogram } from '../../../src/executor/metrics/exposition.ts';
import { domainMetrics } from '../../../src/executor/metrics/domain-metrics.ts';
import { openOutlet, type Outlet } from '../../../src/executor/metrics/outlet.ts';
import { silentLogger } from '../../../src/base/logger.ts';

describe("Prometheus' text format", () => {
  it('escapes label values and help', () => {
    const text = expose([
      { name: 'a', help: 'one\\two\nthree', type: 'gauge', samples: [{ labels: { l: 'x"y\\z\n' }, value: 1 }] },
    ]);
    expect(text).toBe('# HELP a one\\\\two\\nthree\n# TYPE a gauge\na{l="x\\"y\\\\z\\n"} 1\n');
  });

  it('leaves families without samples out', () => {
    expect(expose([{ name: 'a', help: '', type: 'gauge', samples: [] }])).toBe('');
  });

  it('counts by labels, and bounds them', () => {
    const counter = new Counter(2);
    for (const outcome of ['done', 'done', 'failed', 'other']) counter.add({ outcome });
    expect(counter.samples()).toEqual([
      { labels: { outcome: 'done' }, value: 2 },
      { labels: { outcome: 'failed' }, value: 1 },
    ]);
  });

  it('sums durations into cumulative buckets', () => {
    const histogram = new Histogram([1, 2]);
    for (const seconds of [0.5, 1.5, 9]) histogram.observe({}, seconds);
    const text = expose([{ name: 'd', help: '', type: 'histogram', samples: histogram.samples() }]);
    expect(text).toContain('d_bucket{le="1"} 1\nd_bucket{le="2"} 2\nd_bucket{le="+Inf"} 3\nd_sum 11\nd_count 3\n');
  });

  it('tells domains in base units, with the machine where it is ours', () => {
    const families = domainMetrics(
      [
        {
          name: 'shop.web',
          uuid: 'u',
          id: 1,
          state: { state: 'running', reason: 'booted' },
          cpu: { time: 2.5e9 },
          balloon: { current: 1024 },
          blocks: [
            { name: 'vda', rdBytes: 7 },
            { name: 'vda', backingIndex: 2, rdBytes: 9 },
          ],
          raw: {},
        },
        // Somebody else's, with a name as a machine's domain would have.
        { name: 'shop.web', uuid: 'v', id: 2, cpu: { time: 1e9 }, raw: {} },
      ],
      (uuid) => (uuid === 'u' ? { namespace: 'shop', name: 'web' } : undefined),
    );
    const text = expose(families);
    const labels = 'domain="shop.web",namespace="shop",name="web"';
    expect(text).toContain(`virtctl_domain_cpu_seconds_total{${labels}} 2.5\n`);
    expect(text).toContain(`virtctl_domain_memory_bytes{${labels}} 1048576\n`);
    expect(text).toContain(`virtctl_domain_block_read_bytes_total{${labels},device="vda"} 7\n`);
    expect(text).toContain('virtctl_domain_cpu_seconds_total{domain="shop.web"} 1\n');
    expect(text).not.toContain(' 9\n');
    expect(text).toContain('virtctl_domains{state="running"} 1\n');
  });
});

describe('the outlet', () => {
  let outlet: Outlet | undefined;
  afterEach(async () => {
    await outlet?.close();
  });
  const open = async (problem: string | undefined): Promise<string> => {
    outlet = await openOutlet({
      address: '127.0.0.1:0',
      metrics: () => Promise.resolve('a 1\n'),
      health: () => undefined,
      readiness: () => problem,
      logger: silentLogger,
    });
    return outlet.url;
  };

  it('tells metrics and health', async () => {
    const url = await open(undefined);
    expect(await (await fetch(`${url}/metrics`)).text()).toBe('a 1\n');
    for (const path of ['healthz', 'readyz']) expect((await fetch(`${url}/${path}`)).status).toBe(200);
    expect((await fetch(`${url}/x`)).status).toBe(404);
    expect((await fetch(`${url}/metrics`, { method: 'POST' })).status).toBe(405);
  });

  it('says why it is not ready', async () => {
    const response = await fetch(`${await open('not connected')}/readyz`);
    expect(response.status).toBe(503);
    expect(await response.text()).toBe('not connected\n');
  });

  it('refuses what is no address', async () => {
    for (const address of ['9177', 'x', '127.0.0.1:99999', '']) {
      await expect(
        openOutlet({
          address,
          metrics: () => Promise.resolve(''),
          health: () => undefined,
          readiness: () => undefined,
          logger: silentLogger,
        }),
      ).rejects.toThrow('is no address');
    }
  });
});
