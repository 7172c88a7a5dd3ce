import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AdoptingHost } from '../support/adopting-host.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { runProgram } from '../support/run-program.ts';

/** What people ask virt-install for; a word `@x` is a path of the pool's folder. */
const invocations: Readonly<Record<string, readonly string[]>> = {
  'imports a cloud image': [
    ...['--name', 'cloud', '--import', '--disk', '@cloud.qcow2', '--osinfo', 'debian11'],
    ...['--network', 'network=default', '--graphics', 'none'],
  ],
  'installs from a CD': [
    ...['--name', 'installing', '--vcpus', '2', '--cdrom', '@install.iso', '--disk', 'pool=vms,size=1'],
    ...['--osinfo', 'generic', '--graphics', 'vnc'],
  ],
  'boots from the network, with a password for VNC': [
    ...['--name', 'pxe', '--pxe', '--disk', 'pool=vms,size=1,bus=scsi', '--controller', 'scsi,model=virtio-scsi'],
    ...['--osinfo', 'detect=off,require=off', '--network', 'bridge=br0,model=virtio'],
    ...['--graphics', 'vnc,listen=127.0.0.1,password=secret'],
  ],
  'starts by UEFI': [
    ...['--name', 'uefi', '--boot', 'uefi', '--import', '--disk', 'pool=vms,size=1', '--osinfo', 'debian11'],
    ...['--network', 'user', '--graphics', 'none'],
  ],
  'has a TPM, SPICE and sound': [
    ...['--name', 'Desktop_1', '--import', '--disk', 'pool=vms,size=1,bus=sata,cache=none,discard=unmap'],
    ...['--osinfo', 'win10', '--tpm', 'backend.type=emulator,backend.version=2.0,model=tpm-tis'],
    ...['--graphics', 'spice', '--video', 'qxl', '--sound', 'ich9'],
  ],
  'is tuned, and starts with the host': [
    ...['--name', 'tuned', '--vcpus', '1,maxvcpus=4,sockets=1,cores=4,threads=1', '--import', '--network', 'none'],
    ...['--disk', 'pool=vms,size=1,format=raw', '--osinfo', 'ubuntu20.04', '--cpu', 'qemu64', '--autostart'],
    ...['--memorybacking', 'access.mode=shared,source.type=memfd', '--rng', '/dev/urandom'],
    ...['--channel', 'unix,target.type=virtio,target.name=org.qemu.guest_agent.0'],
    ...['--watchdog', 'i6300esb,action=poweroff'],
  ],
  'is only defined, for the CPU of the host': [
    ...['--name', 'later', '--import', '--disk', 'none', '--osinfo', 'fedora34', '--cpu', 'host-model', '--noreboot'],
    ...['--graphics', 'none', '--iothreads', '2', '--metadata', 'title=My box,description=a <b> & c', '--autostart'],
  ],
  'is an old PC with every drive': [
    ...['--name', 'old', '--machine', 'pc', '--import', '--disk', 'pool=vms,size=1,bus=ide', '--osinfo', 'winxp'],
    ...['--disk', 'device=floppy', '--disk', 'device=cdrom', '--input', 'tablet', '--boot', 'hd,cdrom,menu=on'],
    ...['--network', 'network=default,model=e1000,mac=52:54:00:11:22:33,filterref.filter=clean-traffic'],
    ...['--graphics', 'vnc,port=5999', '--events', 'on_poweroff=destroy,on_reboot=restart,on_crash=preserve'],
  ],
};

describe('virtctl adopt of what virt-install makes', () => {
  let node: ExecutorNode;
  let host: AdoptingHost;

  beforeAll(async () => {
    node = await startExecutorNode();
    host = new AdoptingHost(node);
    await host.furnish();
    await node.libvirtd.exec('ip', 'link', 'add', 'br0', 'type', 'bridge');
    await node.libvirtd.exec('ip', 'link', 'set', 'br0', 'up');
    await host.image('cloud.qcow2');
    const readme = join(node.libvirtd.dir, 'README');
    await writeFile(readme, 'an installer');
    await runProgram('genisoimage', ['-quiet', '-o', join(host.images, 'install.iso'), readme]);
    await node.libvirtd.virsh('pool-refresh', 'vms');
  });
  afterAll(async () => {
    await node.close();
  });

  it.each(Object.entries(invocations))('makes a domain that %s', async (_what, words) => {
    const always = ['--connect', 'qemu:///system', '--virt-type', 'qemu', '--memory', '64', '--check', 'all=off'];
    const paths = words.map((word) => (word.startsWith('@') ? join(host.images, word.slice(1)) : word));
    const home = `HOME=${node.libvirtd.dir}`;
    await node.libvirtd.exec('env', home, 'virt-install', '--noautoconsole', ...always, ...paths);
    expect([...(await host.domains()).values()]).toContain(words[1]);
  });

  it('takes all of them over, and changes and restarts none', async () => {
    const before = await host.standings();
    const { exitCode, stderr } = await host.virtctl('adopt', 'node-1', '--all');
    // virt-install boots an installer once: the definition for the next start is another, and stays so.
    const nextStart = stderr.split('\n').filter((line) => line !== '');
    expect(
      nextStart.filter((line) => !/^domain (pxe|installing): as its definition says .*: os\.boot$/.test(line)),
    ).toEqual([]);
    expect(exitCode).toBe(0);
    expect(await host.standings()).toEqual(before);
    await host.expectNothingPlanned();
    await host.expectNothingPending();
    const { items } = await node.machines.listAll();
    expect(Object.fromEntries(items.map(({ metadata, spec }) => [metadata.name, spec.runStrategy]))).toEqual({
      ...{ cloud: 'RerunOnFailure', installing: 'RerunOnFailure', pxe: 'RerunOnFailure', uefi: 'RerunOnFailure' },
      ...{ 'desktop-1': 'RerunOnFailure', tuned: 'RerunOnFailure', old: 'RerunOnFailure' },
      // Off, but libvirt starts it with the host: nobody is to stop it then.
      later: 'Manual',
    });
    for (const { metadata, status } of items) {
      expect([metadata.name, status?.domain?.boots]).toEqual([metadata.name, undefined]);
    }
  });

  it('changes, stops, starts and deletes all of them afterwards', async () => {
    const names = (await node.machines.listAll()).items.map(({ metadata }) => metadata.name ?? '');
    await Promise.all(
      names.map(async (name) => {
        await node.patch(name, { terminationGracePeriodSeconds: 0, domain: { title: `set ${name}` } });
        const { status } = await node.untilObserved(name);
        expect(await node.libvirtd.virsh('desc', '--title', status?.domain?.uuid ?? '')).toBe(`set ${name}`);
        await node.patch(name, { runStrategy: 'Halted' });
        await node.untilStatus(name, 'Stopped');
        await node.patch(name, { runStrategy: 'Always' });
        const running = await node.untilStatus(name, 'Running');
        expect(running.status?.domain?.boots).toBe(1);
      }),
    );
    await host.expectNothingPending();
    await Promise.all(names.map((name) => node.delete(name)));
    expect(await node.libvirtd.virsh('list', '--all', '--name')).toBe('');
    // Disks stay, as nobody has said otherwise.
    expect(await node.libvirtd.virsh('vol-list', 'vms')).toContain('uefi.qcow2');
  });
});
