import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { HypervisorStatus } from '../../src/api/hypervisor.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';

let node: ExecutorNode | undefined;
let status: HypervisorStatus | undefined;

beforeAll(async () => {
  node = await startExecutorNode();
  const { hypervisors, name } = node;
  await vi.waitUntil(
    async () => {
      status = (await hypervisors.get({ name })).status;
      return status?.domainCapabilities !== undefined;
    },
    { timeout: 120_000 },
  );
}, 120_000);
afterAll(() => node?.close());

describe('what a node tells of itself', () => {
  it('names the machine types, CPU models and CPU features of its emulators', () => {
    const [first] = status?.domainCapabilities?.filter(({ domainType }) => domainType === 'qemu') ?? [];
    expect(first?.arch).toBe(status?.nodeInfo?.architecture);
    expect(first?.machineTypes).toEqual(expect.arrayContaining(['q35', 'pc']));
    expect(first?.cpuModels).toEqual(expect.arrayContaining(['qemu64']));
    // Those of the CPU's model as well, not only what goes beyond it.
    expect(first?.cpuFeatures).toEqual(expect.arrayContaining(['fpu', 'sse2', 'lm']));
    expect(first?.devices?.['disk.bus']).toEqual(expect.arrayContaining(['virtio', 'sata']));
  });

  it('tells of networks, pools, devices and bridges without growing beyond bounds', () => {
    expect(status?.networks).toBeDefined();
    expect(status?.pools).toBeDefined();
    expect(status?.hostDevices?.length).toBeLessThanOrEqual(512);
    expect(JSON.stringify(status).length).toBeLessThan(128 * 1024);
  });
});
