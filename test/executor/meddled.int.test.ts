import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, guestMachine, untilBoots } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';

describe('a domain that somebody meddled with', () => {
  let node: ExecutorNode;
  let guest: Guest;
  const virsh = (...args: string[]): Promise<string> => node.libvirtd.virsh(...args);

  beforeAll(async () => {
    guest = await testGuest();
    node = await startExecutorNode();
  });
  afterAll(async () => {
    await node.close();
  });

  /** Defines somebody's domain. */
  async function define(name: string): Promise<void> {
    const path = join(node.libvirtd.dir, `${name}.xml`);
    const os = "<os><type arch='x86_64'>hvm</type></os>";
    await writeFile(path, `<domain type='qemu'><name>${name}</name><memory unit='MiB'>64</memory>${os}</domain>`);
    await virsh('define', path);
  }

  it('is told of where its object went without it and was made anew, with what brings it back', async () => {
    await node.create('lost', guestMachine(node, guest, 'lost', { agent: false }));
    const { metadata, status } = await node.untilStatus('lost', 'Running');
    const { id, uuid } = status?.domain ?? {};
    await node.stopExecutor();
    const ref = { namespace: node.namespace, name: 'lost' };
    await node.machines.mergePatch(ref, { metadata: { finalizers: null } });
    await node.delete('lost');
    await node.create('lost', guestMachine(node, guest, 'lost', { agent: false }));
    await node.startExecutor();
    const vm = await node.until('lost', (one) => node.condition(one, 'Synchronized').reason === 'ForeignDomain');
    expect(vm.metadata.uid).not.toBe(metadata.uid);
    const { message } = node.condition(vm, 'Synchronized');
    expect(message).toContain(`"default.lost" (${uuid ?? ''}) of this node was made for an earlier VirtualMachine`);
    expect(message).toContain('virtctl delete vm lost -n default, then virtctl recover --node node-1');
    await expect
      .poll(async () => (await node.hypervisors.get({ name: node.name })).status?.orphans, { timeout: 120_000 })
      .toMatchObject([{ domain: 'default.lost', uuid, namespace: 'default', name: 'lost', running: true }]);
    // As the message says.
    await node.delete('lost');
    const here = ['--kubeconfig', node.kubeconfig, '--connect', node.libvirtd.uri];
    const recovered = await commandLine(['recover', '--node', node.name, ...here]);
    expect(recovered).toMatchObject({ exitCode: 0 });
    const back = await node.untilStatus('lost', 'Running');
    expect(back.status?.domain).toMatchObject({ id, uuid });
    await node.patch('lost', { terminationGracePeriodSeconds: 0 });
    await node.delete('lost');
  });

  it('is known by its UUID, also when somebody renamed it and gave its name to another', async () => {
    await node.create('web', guestMachine(node, guest, 'web', { agent: false, runStrategy: 'Manual' }));
    const { status } = await node.untilStatus('web', 'Stopped');
    const uuid = status?.domain?.uuid ?? '';
    await node.stopExecutor();
    await virsh('domrename', 'default.web', 'renamed');
    await define('default.web');
    await node.startExecutor();
    const vm = await node.until('web', (one) => node.condition(one, 'Synchronized').reason === 'DefineFailed');
    expect(vm.status?.domain).toMatchObject({ name: 'renamed', uuid });
    expect(node.condition(vm, 'Synchronized').message).toContain('domain is called "renamed", and another one');
    // Under its other name it is looked at when something happens to it, and taken away with its object.
    await virsh('start', 'renamed');
    await node.untilStatus('web', 'Running');
    await node.patch('web', { terminationGracePeriodSeconds: 0 });
    await node.delete('web');
    expect(await virsh('list', '--all', '--name')).toBe('default.web');
    await virsh('undefine', 'default.web');
  });

  it('has the definition back that it had, where it was undefined and libvirtd restarted while nobody looked', async () => {
    await node.create(
      'kept',
      guestMachine(node, guest, 'kept', {
        agent: false,
        domain: {
          devices: {
            graphics: [{ type: 'vnc', autoport: true }],
            video: [{ model: { type: 'vga' } }],
            interface: [{ type: 'user', model: { type: 'virtio' } }],
          },
        },
      }),
    );
    await untilBoots(node, 'kept', 1);
    const { status } = await node.untilStatus('kept', 'Running');
    await node.stopExecutor();
    const definition = async (): Promise<string> =>
      (await virsh('dumpxml', '--inactive', '--security-info', 'default.kept')).replace(
        /<metadata>[^]*<\/metadata>/,
        '',
      );
    const before = await definition();
    await virsh('undefine', 'default.kept');
    await node.libvirtd.restart('KILL');
    await node.startExecutor();
    const vm = await node.until('kept', (one) => one.status?.drift?.[0]?.path === 'definition', 'drift');
    expect(vm.status?.domain?.id).toBe(status?.domain?.id);
    expect(await virsh('dominfo', 'default.kept')).toMatch(/^Persistent: +yes$/m);
    expect(await definition()).toBe(before);
    expect(vm.status?.restartRequired).toBeUndefined();
    expect(vm.status?.ignored).toBeUndefined();
    expect(await bootsOf(node, 'kept')).toBe(1);
    await node.patch('kept', { terminationGracePeriodSeconds: 0 });
    await node.delete('kept');
  });
});
