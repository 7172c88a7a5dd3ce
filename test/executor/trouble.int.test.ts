import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, consolePath, guestMachine, untilBoots } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import type { KubeObject } from '../../src/kube/object.ts';

describe('what can go wrong with a machine', () => {
  let node: ExecutorNode;
  let guest: Guest;

  beforeAll(async () => {
    guest = await testGuest();
    node = await startExecutorNode();
  });
  afterAll(async () => {
    await node.close();
  });

  it('backs off when QEMU dies again and again, and a Start operation ends the wait', async () => {
    await node.create('loop', guestMachine(node, guest, 'loop', { agent: false }));
    // The first end is followed by a start at once, the second by a wait.
    for (let boots = 1; boots <= 2; boots += 1) {
      await node.until('loop', (vm) => vm.status?.domain?.boots === boots && vm.status.printableStatus === 'Running');
      const pid = await node.libvirtd.exec('cat', '/run/libvirt/qemu/default.loop.pid');
      await node.libvirtd.exec('kill', '-9', pid.trim());
      await node.until('loop', (vm) => vm.status?.failures?.count === boots, `failure ${boots}`);
    }
    const waiting = await node.untilStatus('loop', 'CrashLoopBackOff');
    expect(waiting.status?.lastStop).toMatchObject({ reason: 'Crashed' });
    expect(node.condition(waiting, 'Ready')).toMatchObject({ status: 'False', reason: 'CrashLoopBackOff' });
    expect((await node.operate('loop', 'Start')).status).toMatchObject({ phase: 'Succeeded' });
    const running = await node.untilStatus('loop', 'Running');
    expect(running.status?.failures).toBeUndefined();
    await node.delete('loop');
  });

  it("backs off when the guest's kernel panics again and again, also where only crashes are a reason to start", async () => {
    const panicking = guestMachine(node, guest, 'panics', {
      runStrategy: 'RerunOnFailure',
      agent: false,
      cmdline: 'unknown_nmi_panic',
      domain: { devices: { panic: [{ model: 'isa' }] } },
    });
    await node.create('panics', panicking);
    for (let boots = 1; boots <= 2; boots += 1) {
      await untilBoots(node, 'panics', boots);
      await node.untilStatus('panics', 'Running');
      expect((await node.operate('panics', 'InjectNMI')).status).toMatchObject({ phase: 'Succeeded' });
      await node.until('panics', (vm) => vm.status?.failures?.count === boots, `panic ${boots}`);
    }
    const waiting = await node.untilStatus('panics', 'CrashLoopBackOff');
    expect(waiting.status).toMatchObject({ lastStop: { reason: 'Crashed' }, domain: { reason: 'crashed', boots: 2 } });
    expect(await bootsOf(node, 'panics')).toBe(2);
    await node.delete('panics');
  });

  it("tells libvirt's words when it cannot start it, and starts it when the cause is gone", async () => {
    const spec = guestMachine(node, guest, 'broken');
    const disk = {
      type: 'file' as const,
      device: 'disk' as const,
      source: { file: join(node.libvirtd.dir, 'absent.img') },
      target: { dev: 'vda', bus: 'virtio' as const },
    };
    await node.create('broken', {
      ...spec,
      domain: { ...spec.domain, devices: { ...spec.domain?.devices, disk: [disk] } },
    });
    // The count is noted before the next attempt, the condition follows at the end of the reconcile.
    const failed = await node.until(
      'broken',
      (vm) => (vm.status?.failures?.count ?? 0) > 0 && node.condition(vm, 'Ready').status === 'False',
      'a failed start',
    );
    expect(failed.status?.failures?.message).toContain('absent.img');
    await vi.waitFor(async () => expect(await node.eventsOf('broken')).toContain('StartFailed'), { timeout: 120_000 });
    await node.patch('broken', { domain: { devices: { disk: null } } });
    const running = await node.untilStatus('broken', 'Running');
    expect(running.status?.failures).toBeUndefined();
    await node.delete('broken');
  });

  it('waits for what a volume names, and makes a cloud-init disk of a Secret without keeping its words', async () => {
    const secrets = node.client.resource<KubeObject & { data: Record<string, string> }>(builtin.secrets);
    const volumes = [{ name: 'seed', cloudInit: { secretRef: { name: 'seed' } } }];
    await node.create('seeded', guestMachine(node, guest, 'seeded', { spec: { volumes } }));
    const waiting = await node.until('seeded', (vm) => node.condition(vm, 'Ready').reason === 'SecretNotFound');
    expect(node.condition(waiting, 'Ready').message).toContain('seed');
    const words = 'password: correct horse battery';
    await secrets.create({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'seed', namespace: 'default' },
      data: { userData: Buffer.from(`#cloud-config\n${words}\n`).toString('base64') },
    });
    const vm = await node.untilStatus('seeded', 'Running');
    expect(vm.status?.volumes).toMatchObject([{ name: 'seed', target: 'sda' }]);
    const image = vm.status?.volumes?.[0]?.source ?? '';
    expect(await readFile(image, 'latin1')).toContain(words);
    expect(await node.libvirtd.virsh('dumpxml', 'default.seeded')).not.toContain('correct horse');
    expect(JSON.stringify(vm)).not.toContain('correct horse');
    expect(await node.log()).not.toContain('correct horse');
    await node.delete('seeded');
    await expect(readFile(image)).rejects.toThrow('ENOENT');
  });

  it('says what helps where libvirtd was killed before a start had a process, and goes on when that was done', async () => {
    await node.create('cut', guestMachine(node, guest, 'cut', { agent: false }));
    await untilBoots(node, 'cut', 1);
    const pid = await node.libvirtd.exec('cat', '/run/libvirt/qemu/default.cut.pid');
    await node.libvirtd.signal('KILL');
    await node.libvirtd.exec('kill', '-9', pid.trim());
    const note = join(node.libvirtd.dir, 'run/qemu/default.cut.xml');
    const running = await readFile(note, 'utf8');
    const starting = running
      .replace(/<domstatus [^>]*>/, "<domstatus state='paused' reason='starting up' pid='0'>")
      .replace(/<monitor [^>]*>/, "$& <job type='none' async='start' flags='0x4'/>")
      .replace(/<(\w+):boot [^]*?<\/\1:boot>/, '');
    expect(starting).not.toContain('boot/1');
    await writeFile(note, starting);
    await node.libvirtd.start({ keepNotes: true });
    const stuck = await node.until('cut', (vm) => node.condition(vm, 'Ready').reason === 'StartNotEnding');
    expect(stuck.status?.printableStatus).toBe('Starting');
    expect(node.condition(stuck, 'Ready').message).toContain('remove /run/libvirt/qemu/default.cut.xml');

    await node.libvirtd.signal('KILL');
    await rm(note);
    await node.libvirtd.start({ keepNotes: true });
    await untilBoots(node, 'cut', 2);
    await node.untilStatus('cut', 'Running');
    await node.delete('cut');
  });

  it('does not touch a domain of somebody else that has its name', async () => {
    await node.libvirtd.virsh('define', await foreignXml());
    await node.create('theirs', guestMachine(node, guest, 'theirs'));
    const vm = await node.until('theirs', (one) => node.condition(one, 'Synchronized').reason === 'ForeignDomain');
    expect(vm.status?.printableStatus).toBe('Error');
    expect(await node.libvirtd.virsh('domstate', 'default.theirs')).toBe('shut off');
    await node.delete('theirs');
    expect(await node.libvirtd.virsh('list', '--all', '--name')).toContain('default.theirs');
    await node.libvirtd.virsh('undefine', 'default.theirs');
  });

  it('does not run a kvm machine under emulation unless the node allows it', async () => {
    const spec = guestMachine(node, guest, 'native');
    await node.create('native', {
      ...spec,
      domain: { ...spec.domain, type: 'kvm', cpu: { mode: 'host-passthrough' } },
    });
    const vm = await node.until('native', (one) => node.condition(one, 'Ready').reason !== undefined);
    const hypervisor = await node.hypervisors.get({ name: node.name });
    const usable = hypervisor.status?.conditions?.find(({ type }) => type === 'KVMUsable');
    if (usable?.status === 'True') {
      await node.untilStatus('native', 'Running');
    } else {
      expect(node.condition(vm, 'Ready')).toMatchObject({ status: 'False', reason: 'KVMUnusable' });
      await node.hypervisors.mergePatch({ name: node.name }, { spec: { allowEmulation: true } });
      await node.untilStatus('native', 'Running');
      expect(await node.libvirtd.virsh('dumpxml', 'default.native')).toContain("<domain type='qemu'");
    }
    await node.delete('native');
  });

  it('deletes in every state', async () => {
    const names = ['running', 'paused', 'saved', 'off'];
    for (const name of names)
      await node.create(
        name,
        guestMachine(node, guest, name, { agent: false, spec: { terminationGracePeriodSeconds: 2 } }),
      );
    for (const name of names) await node.untilStatus(name, 'Running');
    await node.operate('paused', 'Pause');
    await node.operate('saved', 'Save');
    await node.patch('off', { runStrategy: 'Halted' });
    await node.untilStatus('off', 'Stopped');
    await Promise.all(names.map((name) => node.delete(name)));
    expect(await node.libvirtd.virsh('list', '--all', '--name')).toBe('');
  });

  it('goes on after SIGTERM where it was, and touches no guest', async () => {
    await node.create('calm', guestMachine(node, guest, 'calm', { agent: false }));
    await untilBoots(node, 'calm', 1);
    await node.stopExecutor('SIGTERM');
    expect(await node.libvirtd.virsh('domstate', 'default.calm')).toBe('running');
    await node.startExecutor();
    expect(await bootsOf(node, 'calm')).toBe(1);
    await node.delete('calm');
  });

  it('tells metrics, health and its node', async () => {
    await node.create('told', guestMachine(node, guest, 'told'));
    await node.untilStatus('told', 'Running');
    const text = await (await fetch(`${node.metricsUrl}/metrics`)).text();
    expect(text).toMatch(/^virtctl_domains\{state="running"\} 1$/m);
    expect(text).toMatch(
      /^virtctl_domain_cpu_seconds_total\{domain="default.told",namespace="default",name="told"\} [0-9.]+$/m,
    );
    expect(text).toMatch(/^virtctl_reconciles_total\{controller="virtualmachine",outcome="[a-z]+"\} [0-9]+$/m);
    expect((await fetch(`${node.metricsUrl}/healthz`)).status).toBe(200);
    expect((await fetch(`${node.metricsUrl}/readyz`)).status).toBe(200);
    expect((await fetch(`${node.metricsUrl}/other`)).status).toBe(404);
    const { status } = await node.hypervisors.get({ name: node.name });
    expect(status?.conditions).toEqual(
      expect.arrayContaining([expect.objectContaining({ type: 'LibvirtConnected', status: 'True' })]),
    );
    expect(Number(status?.capacity?.['cpu'])).toBeGreaterThan(0);
    expect(status?.nodeInfo?.libvirtVersion).toMatch(/^[0-9]+\.[0-9]+\.[0-9]+$/);
    const leases = node.client.resource<KubeObject & { spec?: { holderIdentity?: string } }>(builtin.leases);
    expect((await leases.get({ namespace: 'virtctl-node-lease', name: node.name })).spec?.holderIdentity).toBe(
      node.name,
    );
    await node.delete('told');
  });

  it("sets a user's password through the agent, from a Secret, and never tells it", async () => {
    const secrets = node.client.resource<KubeObject & { data: Record<string, string> }>(builtin.secrets);
    await secrets.create({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'root', namespace: 'default' },
      data: { password: Buffer.from('tr0ub4dor').toString('base64') },
    });
    await node.create('keyed', guestMachine(node, guest, 'keyed'));
    await node.until('keyed', (vm) => node.condition(vm, 'AgentConnected').status === 'True', 'the agent');
    const operation = await node.operate('keyed', 'SetUserPassword', {
      setUserPassword: { user: 'root', secretRef: { name: 'root' } },
    });
    expect(operation.status).toMatchObject({ phase: 'Succeeded' });
    expect(JSON.stringify(operation)).not.toContain('tr0ub4dor');
    expect(await node.log()).not.toContain('tr0ub4dor');
    const missing = await node.operate('keyed', 'SetUserPassword', {
      setUserPassword: { user: 'root', secretRef: { name: 'absent' } },
    });
    expect(missing.status).toMatchObject({ phase: 'Failed', reason: 'SecretNotFound' });
    await node.delete('keyed');
  });

  /** A domain that virsh made. */
  async function foreignXml(): Promise<string> {
    const path = join(node.libvirtd.dir, 'foreign.xml');
    const { writeFile } = await import('node:fs/promises');
    await writeFile(
      path,
      "<domain type='qemu'><name>default.theirs</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>",
    );
    expect(consolePath(node, 'theirs')).toContain('theirs');
    return path;
  }
});
