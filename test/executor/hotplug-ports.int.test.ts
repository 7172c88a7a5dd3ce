import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import type { NetworkInterface, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { Domain } from '../../src/model/types.gen.ts';

/** On q35 every device that is plugged in takes a root port, and a running machine gets no more of them. */
describe('more devices than there are root ports', () => {
  let node: ExecutorNode;
  const cards = (count: number): NetworkInterface[] =>
    Array.from({ length: count }, (_none, index) => ({ name: `eth${index}`, user: {} }));
  /** Nobody in it hears anything: its firmware finds nothing to boot. */
  const idle = (controller?: NonNullable<Domain['devices']>['controller']): VirtualMachineSpec => ({
    terminationGracePeriodSeconds: 0,
    runStrategy: 'Always',
    domain: {
      type: 'qemu',
      memory: { unit: 'MiB', value: 32 },
      os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
      ...(controller === undefined ? {} : { devices: { controller } }),
    },
  });
  const untilPlugged = (name: string, count: number) =>
    node.until(
      name,
      (vm) =>
        vm.status?.interfaces?.length === count &&
        vm.status.observedGeneration === vm.metadata.generation &&
        node.condition(vm, 'RestartRequired').status === 'False',
      `${count} cards in ${name}`,
    );

  beforeAll(async () => {
    node = await startExecutorNode();
  });
  afterAll(async () => {
    await node.close();
  });

  it('are told with the words of libvirt, and are there after a restart', async () => {
    await node.create('many', idle());
    await node.untilStatus('many', 'Running');
    await node.patch('many', { interfaces: cards(12) });
    const full = await node.until('many', (vm) => node.condition(vm, 'RestartRequired').status === 'True');
    const plugged = full.status?.interfaces?.length ?? 0;
    expect(plugged).toBeGreaterThan(0);
    const waiting = full.status?.restartRequired ?? [];
    expect(waiting.map(({ path }) => path)).toEqual(
      cards(12)
        .map((_card, index) => `devices.interface[${index}]`)
        .slice(plugged),
    );
    for (const { message } of waiting) expect(message).toContain('No more available PCI slots');
    expect(node.condition(full, 'Degraded')).toMatchObject({ status: 'True', reason: 'LiveChangeFailed' });
    await node.operate('many', 'Restart', { restart: { force: true } });
    const all = await untilPlugged('many', 12);
    expect(all.status?.domain?.boots).toBe(2);
    // An executor that looks afresh changes nothing, though libvirt has added ports that nobody asked for.
    const before = await node.libvirtd.virsh('dumpxml', '--inactive', 'default.many');
    await node.stopExecutor('SIGKILL');
    await node.startExecutor();
    await node.patch('many', { terminationGracePeriodSeconds: 1 });
    await node.untilObserved('many');
    const strip = (xml: string) => xml.replace(/<metadata>[^]*<\/metadata>/, '');
    expect(strip(await node.libvirtd.virsh('dumpxml', '--inactive', 'default.many'))).toBe(strip(before));
    await node.delete('many');
  });

  it('are plugged in while it runs where spec lays out more ports', async () => {
    const ports = Array.from({ length: 24 }, () => ({ type: 'pci', model: 'pcie-root-port' }) as const);
    await node.create('roomy', idle([{ type: 'pci', index: 0, model: 'pcie-root' }, ...ports]));
    await node.untilStatus('roomy', 'Running');
    await node.patch('roomy', { interfaces: cards(12) });
    const all = await untilPlugged('roomy', 12);
    expect(all.status?.domain?.boots).toBe(1);
    await node.delete('roomy');
  });
});
