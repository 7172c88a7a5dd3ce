import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildVirtctl, kubectl, type CallResult, type VirtctlProcess } from './virtctl-process.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, consolePath, guestMachine, untilBoots, type GuestMachineOptions } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';

describe('the life of a machine from the command line', () => {
  let node: ExecutorNode;
  let guest: Guest;
  let virtctl: VirtctlProcess;

  beforeAll(async () => {
    virtctl = buildVirtctl();
    guest = await testGuest();
    node = await startExecutorNode();
  });
  afterAll(async () => {
    virtctl.remove();
    await node.close();
  });

  function call(words: readonly string[], input = ''): Promise<CallResult> {
    return virtctl.call(node, words, input);
  }

  /** A call that has to work; what it printed. */
  async function ok(words: readonly string[], input = ''): Promise<string> {
    const result = await call(words, input);
    expect(result, `virtctl ${words.join(' ')}`).toMatchObject({ status: 0 });
    return result.stdout;
  }

  function manifest(name: string, options: GuestMachineOptions = {}): string {
    const spec = { nodeName: node.name, ...guestMachine(node, guest, name, options) };
    return JSON.stringify({ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine', metadata: { name }, spec });
  }

  async function domains(): Promise<string[]> {
    return (await node.libvirtd.virsh('list', '--all', '--name')).split('\n').filter((name) => name !== '');
  }

  const state = (name: string): Promise<string> => node.libvirtd.virsh('domstate', `default.${name}`);

  it('goes from create to delete, each verb done when its command ends', async () => {
    expect(await ok(['create', '-f', '-', '--wait'], manifest('life'))).toBe(
      'virtualmachine.virtctl.dev/life created\n',
    );
    expect(await state('life')).toBe('running');
    await untilBoots(node, 'life', 1);
    expect(await ok(['get', 'vm', 'life', '-o', 'jsonpath={.status.printableStatus}'])).toBe('Running');
    expect(await ok(['pause', 'life'])).toBe('virtualmachine.virtctl.dev/life paused\n');
    expect(await state('life')).toBe('paused');
    await ok(['wait', 'vm/life', '--for=condition=Paused', '--timeout=20s']);
    await ok(['unpause', 'vm/life']);
    expect(await state('life')).toBe('running');
    await ok(['send-key', 'life', '--key', 'KEY_LEFTCTRL', 'KEY_A']);
    await ok(['save', 'life']);
    expect(await state('life')).toBe('shut off');
    expect(await bootsOf(node, 'life')).toBe(1);
    await ok(['start', 'life']);
    expect(await state('life')).toBe('running');
    expect(await bootsOf(node, 'life'), 'a saved guest goes on, it does not boot').toBe(1);
    await ok(['reset', 'life']);
    await untilBoots(node, 'life', 2);
    await ok(['restart', 'life']);
    await untilBoots(node, 'life', 3);
    await ok(['stop', 'life']);
    expect(await state('life')).toBe('shut off');
    expect(await ok(['get', 'vm/life', '-o', 'jsonpath={.spec.runStrategy} {.status.printableStatus}'])).toBe(
      'Halted Stopped',
    );
    await ok(['start', 'life']);
    expect(await state('life')).toBe('running');
    await untilBoots(node, 'life', 4);
    const described = await ok(['describe', 'vm', 'life']);
    for (const word of ['Running', 'Started', 'Stopped', 'default.life']) expect(described).toContain(word);
    expect(await ok(['delete', 'vm', 'life'])).toContain('deleted');
    expect(await domains()).not.toContain('default.life');
    expect((await call(['get', 'vm', 'life'])).status).toBe(3);
  });

  it('changes a running machine from the command line', async () => {
    const domain = { vcpu: { value: 2, current: 1 } };
    await ok(['create', '-f', '-', '--wait'], manifest('live', { domain }));
    await untilBoots(node, 'live', 1);
    await ok(['set', 'vm', 'live', '--title', 'a "title" & <more>']);
    expect(await node.libvirtd.virsh('desc', '--title', 'default.live')).toBe('a "title" & <more>');
    await ok(['set', 'vm', 'live', '--cpus', '2']);
    expect(await node.libvirtd.virsh('vcpucount', 'default.live', '--live', '--active')).toBe('2');
    const waiting = await call(['set', 'vm', 'live', '--max-memory', '512Mi', '--memory', '192Mi']);
    expect(waiting).toMatchObject({ status: 0 });
    expect(waiting.stderr).toMatch(/^warning: takes effect at the next start: memory/);

    const rng = '<rng model="virtio"><backend model="random">/dev/urandom</backend></rng>';
    await ok(['attach', 'device', 'live', '-f', '-'], rng);
    expect(await node.libvirtd.virsh('dumpxml', 'default.live')).toContain('<rng ');
    expect((await call(['detach', 'device', 'live', '-f', '-'], '<rng model="virtio-transitional"/>')).status).toBe(3);
    await ok(['detach', 'device', 'live', '-f', '-'], rng);
    expect(await node.libvirtd.virsh('dumpxml', '--inactive', 'default.live')).not.toContain('<rng ');
    await ok(
      ['attach', 'device', 'live', '-f', '-'],
      'rng: {model: virtio, backend: {model: random, value: /dev/urandom}}',
    );
    expect(await node.libvirtd.virsh('dumpxml', '--inactive', 'default.live')).toContain('<rng ');
    const typo = await call(['attach', 'device', 'live', '-f', '-'], 'rng: {modle: virtio}');
    expect(typo).toMatchObject({ status: 8 });
    expect(typo.stderr).toMatch(/-:1:\d+: rng\[0\]\.modle: unknown key; did you mean "?model/);
    expect((await call(['attach', 'device', 'live', '-f', '-'], '</devices></domain>')).status).toBe(8);

    const top = JSON.parse(await ok(['top', 'vm', 'live', '--interval', '300ms', '-o', 'json'])) as { items: object[] };
    expect(top.items).toMatchObject([
      { name: 'live', state: 'running', cpus: 2, cpuPercent: expect.any(Number) as number },
    ]);
    expect(await ok(['top', 'node'])).toMatch(/NAME .*\nnode-1 /);
    await ok(['delete', 'vm', 'live', '--force']);
  });

  it('lives from kubectl alone', async () => {
    const run = async (words: readonly string[], input = ''): Promise<string> => {
      const result = await kubectl(node, words, input);
      expect(result, `kubectl ${words.join(' ')}`).toMatchObject({ status: 0 });
      return result.stdout;
    };
    await run(['create', '-f', '-'], manifest('kube'));
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
    expect(await domains()).not.toContain('default.kube');
  });

  it("carries libvirt's refusal to get, describe, why and the exit code", async () => {
    const domain = { os: { type: { arch: 'x86_64', machine: 'no-such-board', value: 'hvm' } } } as const;
    const created = await call(['create', '-f', '-', '--wait', '--timeout', '20s'], manifest('bad', { domain }));
    const words = /no-such-board|PCI/;
    expect(created.status).toBe(1);
    expect(created.stderr).toMatch(words);
    expect(await ok(['get', 'vm', 'bad'])).toContain('Error');
    expect(await ok(['describe', 'vm', 'bad'])).toMatch(words);
    expect((await call(['why', 'vm/bad'])).stdout).toMatch(words);
    await ok(['delete', 'vm', 'bad']);
    expect(await domains()).not.toContain('default.bad');
  });

  it('deletes a machine in every state', async () => {
    const paused = ok(['create', '-f', '-', '--wait'], manifest('paused')).then(() => ok(['pause', 'paused']));
    const saved = ok(['create', '-f', '-', '--wait'], manifest('saved')).then(() => ok(['save', 'saved']));
    const halted = ok(['create', '-f', '-'], manifest('halted', { runStrategy: 'Halted' }));
    const unplaced = ok(['create', '-f', '-'], manifest('unplaced', { spec: { nodeName: '' } }));
    const waiting = ok(
      ['create', '-f', '-'],
      manifest('waiting', { spec: { volumes: [{ name: 'root', virtualDisk: 'missing' }] } }),
    );
    await Promise.all([paused, saved, halted, unplaced, waiting]);
    // One that is being created at this moment, too.
    await ok(['create', '-f', '-'], manifest('fresh'));
    const names = ['paused', 'saved', 'halted', 'unplaced', 'waiting', 'fresh'];
    await ok(['delete', 'vm', ...names, '--grace-period', '2', '--timeout', '60s']);
    const left = [
      ...(await node.machines.listAll({ namespace: 'default' })).items.map(({ metadata }) => metadata.name),
    ];
    expect(
      [...left, ...(await domains())].filter((name) => names.includes(name?.replace('default.', '') ?? '')),
    ).toEqual([]);
  });

  it('ends with a code for each kind of failure', async () => {
    await ok(['create', '-f', '-'], manifest('codes', { runStrategy: 'Halted' }));
    const codes = async (words: readonly string[], input = ''): Promise<number | null> =>
      (await call(words, input)).status;
    expect(await codes(['start'])).toBe(2);
    expect(await codes(['start', 'nobody'])).toBe(3);
    expect(await codes(['create', '-f', '-'], manifest('codes'))).toBe(4);
    expect(await codes(['wait', 'vm/codes', '--for=condition=Paused', '--timeout=300ms'])).toBe(5);
    expect(await codes(['get', 'vm', '--kubeconfig', await unreachable()])).toBe(6);
    expect(await codes(['apply', '-f', '-'], '{"kind": "VirtualMachine"}')).toBe(8);
    expect(await codes(['pause', 'codes'])).toBe(1);
    const both = await call(['stop', 'codes', 'nobody']);
    expect(both).toMatchObject({ status: 3 });
    expect(both.stdout).toContain('codes');
    await ok(['delete', 'vm', 'codes']);
  });

  /** A kubeconfig whose server is not there. */
  async function unreachable(): Promise<string> {
    const file = join(node.libvirtd.dir, 'unreachable.json');
    const text = await readFile(node.kubeconfig, 'utf8');
    await writeFile(file, text.replaceAll(/https:\/\/127\.0\.0\.1:\d+/g, 'https://127.0.0.1:1'));
    return file;
  }

  it('takes no machine of more than 128 KiB, from nobody', async () => {
    const sized = (bytes: number): string => {
      const domain = (description: string): string =>
        JSON.stringify({
          apiVersion: 'virtctl.dev/v1alpha1',
          kind: 'VirtualMachine',
          metadata: { name: 'large' },
          spec: { nodeName: node.name, runStrategy: 'Halted', domain: { type: 'qemu', description } },
        });
      return domain('x'.repeat(bytes - domain('').length));
    };
    for (const result of [
      await call(['create', '-f', '-'], sized(128 * 1024 + 1)),
      await kubectl(node, ['create', '-f', '-'], sized(128 * 1024 + 1)),
    ]) {
      expect(result.status).not.toBe(0);
      expect(result.stderr).toMatch(/has 131\d+ bytes of YAML .* at most 131072 \(128 KiB\)/);
    }
    expect((await call(['create', '-f', '-'], sized(128 * 1024 + 1))).status).toBe(8);
    await ok(['create', '-f', '-'], sized(127 * 1024));
    const large = await node.untilObserved('large');
    expect(node.condition(large, 'Synchronized').message ?? '').toBe('');
    expect(node.condition(large, 'Synchronized')).toMatchObject({ reason: 'InSync' });
    expect((await node.libvirtd.virsh('desc', 'default.large')).length).toBeGreaterThan(126 * 1024);
    await ok(['delete', 'vm', 'large']);
  });

  it('has the guest log where logs finds it', async () => {
    await ok(['create', '-f', '-', '--wait'], manifest('talks'));
    await untilBoots(node, 'talks', 1);
    expect(await ok(['logs', 'talks'])).toBe(await readFile(consolePath(node, 'talks'), 'utf8'));
    await ok(['delete', 'vm', 'talks', '--force']);
  });
});
