/** The life of a machine, told once for every API server: from our command line, and from kubectl alone. */
import { expect } from 'vitest';
import { kubectl, type VirtctlProcess } from './virtctl-process.ts';
import type { ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, guestMachine, untilBoots, type GuestMachineOptions } from '../support/guest-machine.ts';
import type { Guest } from '../support/guest.ts';

/** A machine of a node that boots the test guest, as JSON. */
export function machineManifest(
  node: ExecutorNode,
  guest: Guest,
  name: string,
  options: GuestMachineOptions = {},
): string {
  const spec = { nodeName: node.name, ...guestMachine(node, guest, name, options) };
  return JSON.stringify({ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine', metadata: { name }, spec });
}

/** The names of a node's domains. */
export async function domainNames(node: ExecutorNode): Promise<string[]> {
  return (await node.libvirtd.virsh('list', '--all', '--name')).split('\n').filter((name) => name !== '');
}

/** From create to delete by `virtctl`, each verb done when its command ends. */
export async function lifeFromTheCommandLine(node: ExecutorNode, guest: Guest, virtctl: VirtctlProcess): Promise<void> {
  const ok = async (words: readonly string[], input = ''): Promise<string> => {
    const result = await virtctl.call(node, words, input);
    expect(result, `virtctl ${words.join(' ')}`).toMatchObject({ status: 0 });
    return result.stdout;
  };
  const state = (): Promise<string> => node.libvirtd.virsh('domstate', 'default.life');
  expect(await ok(['create', '-f', '-', '--wait'], machineManifest(node, guest, 'life'))).toBe(
    'virtualmachine.virtctl.dev/life created\n',
  );
  expect(await state()).toBe('running');
  await untilBoots(node, 'life', 1);
  expect(await ok(['get', 'vm', 'life', '-o', 'jsonpath={.status.printableStatus}'])).toBe('Running');
  expect(await ok(['pause', 'life'])).toBe('virtualmachine.virtctl.dev/life paused\n');
  expect(await state()).toBe('paused');
  await ok(['wait', 'vm/life', '--for=condition=Paused', '--timeout=20s']);
  await ok(['unpause', 'vm/life']);
  expect(await state()).toBe('running');
  await ok(['send-key', 'life', '--key', 'KEY_LEFTCTRL', 'KEY_A']);
  await ok(['save', 'life']);
  expect(await state()).toBe('shut off');
  expect(await bootsOf(node, 'life')).toBe(1);
  await ok(['start', 'life']);
  expect(await state()).toBe('running');
  expect(await bootsOf(node, 'life'), 'a saved guest goes on, it does not boot').toBe(1);
  await ok(['reset', 'life']);
  await untilBoots(node, 'life', 2);
  await ok(['restart', 'life']);
  await untilBoots(node, 'life', 3);
  await ok(['stop', 'life']);
  expect(await state()).toBe('shut off');
  expect(await ok(['get', 'vm/life', '-o', 'jsonpath={.spec.runStrategy} {.status.printableStatus}'])).toBe(
    'Halted Stopped',
  );
  await ok(['start', 'life']);
  expect(await state()).toBe('running');
  await untilBoots(node, 'life', 4);
  const described = await ok(['describe', 'vm', 'life']);
  for (const word of ['Running', 'Started', 'Stopped', 'default.life']) expect(described).toContain(word);
  expect(await ok(['delete', 'vm', 'life'])).toContain('deleted');
  expect(await domainNames(node)).not.toContain('default.life');
  expect((await virtctl.call(node, ['get', 'vm', 'life'])).status).toBe(3);
}

/** The same by kubectl, which knows nothing of us but our kinds. */
export async function lifeFromKubectl(node: ExecutorNode, guest: Guest): Promise<void> {
  const run = async (words: readonly string[], input = ''): Promise<string> => {
    const result = await kubectl(node, words, input);
    expect(result, `kubectl ${words.join(' ')}`).toMatchObject({ status: 0 });
    return result.stdout;
  };
  await run(['create', '-f', '-'], machineManifest(node, guest, 'kube'));
  await run(['wait', 'vm/kube', '--for=condition=Ready', '--timeout=60s']);
  await untilBoots(node, 'kube', 1);
  expect(await run(['get', 'vm'])).toMatch(/kube .*Running/);
  const operation = (verb: string): string =>
    JSON.stringify({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineOperation',
      metadata: { name: `kube-${verb.toLowerCase()}` },
      spec: { virtualMachine: 'kube', verb },
    });
  await run(['create', '-f', '-'], operation('Pause'));
  await node.until('kube', (vm) => node.condition(vm, 'Paused').status === 'True', 'Paused');
  await run(['create', '-f', '-'], operation('Unpause'));
  await node.until('kube', (vm) => node.condition(vm, 'Paused').status === 'False', 'not Paused');
  await run(['patch', 'vm', 'kube', '--type=merge', '-p', '{"spec":{"domain":{"title":"by kubectl"}}}']);
  await node.untilObserved('kube');
  expect(await node.libvirtd.virsh('desc', '--title', 'default.kube')).toBe('by kubectl');
  await run(['patch', 'vm', 'kube', '--type=merge', '-p', '{"spec":{"runStrategy":"Halted"}}']);
  await node.untilStatus('kube', 'Stopped');
  await run(['delete', 'vm', 'kube', '--timeout=60s']);
  expect(await domainNames(node)).not.toContain('default.kube');
}
