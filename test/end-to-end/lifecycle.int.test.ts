import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { domainNames, lifeFromKubectl, lifeFromTheCommandLine, machineManifest } from './life-stories.ts';
import { buildVirtctl, kubectl, type CallResult, type VirtctlProcess } from './virtctl-process.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { consolePath, untilBoots, type GuestMachineOptions } from '../support/guest-machine.ts';
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

  const manifest = (name: string, options: GuestMachineOptions = {}): string =>
    machineManifest(node, guest, name, options);
  const domains = (): Promise<string[]> => domainNames(node);

  it('goes from create to delete, each verb done when its command ends', async () => {
    await lifeFromTheCommandLine(node, guest, virtctl);
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
    await lifeFromKubectl(node, guest);
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
    // The first is the cluster's; the socket's extension names the server that the socket stands for.
    await writeFile(file, text.replace(/https:\/\/127\.0\.0\.1:\d+/, 'https://127.0.0.1:1'));
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
