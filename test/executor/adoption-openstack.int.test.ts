import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AdoptingHost } from '../support/adopting-host.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { runProgram } from '../support/run-program.ts';

const fixtures = join(import.meta.dirname, '../fixtures/openstack');
/** Of local files and a bridge: the one of them that can run here. */
const runnable = 'instance-000000c3';

describe('virtctl adopt of what OpenStack Nova makes', () => {
  let node: ExecutorNode;
  let host: AdoptingHost;
  let instances: string;

  beforeAll(async () => {
    node = await startExecutorNode();
    host = new AdoptingHost(node);
    instances = join(node.libvirtd.dir, 'instances');
    const own = join(instances, '2c9f5e74-1f3d-4d20-9b79-5e3f9aac4d03');
    await mkdir(own, { recursive: true });
    await mkdir(join(instances, '_base'));
    const base = join(instances, '_base/9f2c1e');
    await runProgram('qemu-img', ['create', '-q', '-f', 'raw', base, '16M']);
    const disk = ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', join(own, 'disk')];
    await runProgram('qemu-img', disk);
    await copyFile(base, join(own, 'disk.config'));
    await node.libvirtd.exec('ip', 'link', 'add', 'brq31f4c8aa-5b', 'type', 'bridge');
    await node.libvirtd.exec('ip', 'link', 'set', 'brq31f4c8aa-5b', 'up');
  });
  afterAll(async () => {
    await node.close();
  });

  /** What this host lacks: KVM, other machines' QEMU, and the folder of OpenStack. */
  const adjusted = (xml: string): string =>
    xml
      .replace("<domain type='kvm'>", "<domain type='qemu'>")
      .replace(/<emulator>[^<]*</, '<emulator>/usr/bin/qemu-system-x86_64<')
      .replace(/machine='pc-i440fx-rhel[^']*'/, "machine='pc'")
      .replaceAll('/var/lib/nova/instances', instances);

  /** nova's part of a definition, to the byte. */
  const novaOf = async (name: string): Promise<string | undefined> =>
    /<nova:instance[^]*<\/nova:instance>/.exec(
      await node.libvirtd.virsh('dumpxml', '--inactive', '--security-info', name),
    )?.[0];

  const names = async (): Promise<string[]> =>
    (await readdir(fixtures)).map((file) => file.replace(/\.xml$/, '')).sort();

  it('finds them as Nova leaves them: on Ceph and Open vSwitch, pinned, and on local files', async () => {
    for (const name of await names()) {
      const xml = adjusted(await readFile(join(fixtures, `${name}.xml`), 'utf8'));
      await writeFile(join(node.libvirtd.dir, 'nova.xml'), xml);
      await node.libvirtd.virsh('define', join(node.libvirtd.dir, 'nova.xml'));
      expect(await novaOf(name)).toContain('<nova:package version=');
    }
    await node.libvirtd.virsh('start', runnable);
  });

  it('takes all of them over, changes none, and keeps its metadata to the byte', async () => {
    const before = await host.standings();
    const metadata = await Promise.all((await names()).map(novaOf));
    expect(await host.virtctl('adopt', 'node-1', '--all')).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await host.standings()).toEqual(before);
    await host.expectNothingPlanned();
    await host.expectNothingPending();
    const { items } = await node.machines.listAll();
    const flavors = items.map((one) => [one.metadata.name, one.metadata.labels?.['openstack.virtctl.dev/flavor']]);
    expect(Object.fromEntries(flavors)).toEqual({
      'instance-000000a1': 'm1.large',
      'instance-000000b2': 'nfv.pinned',
      // "1G/1核/1GB", as far as a label can say it.
      'instance-000000c3': '1G-1-1GB',
    });
    for (const { metadata: own } of items) {
      await node.patch(own.name ?? '', { domain: { title: 'ours now' } });
      await node.untilObserved(own.name ?? '');
    }
    expect(await Promise.all((await names()).map(novaOf))).toEqual(metadata);
    await host.expectNothingPlanned();
  });

  it('stops and starts what runs afterwards, and lets the others go', async () => {
    await node.patch(runnable, { runStrategy: 'Halted', terminationGracePeriodSeconds: 0 });
    await node.untilStatus(runnable, 'Stopped');
    await node.patch(runnable, { runStrategy: 'Always' });
    expect((await node.untilStatus(runnable, 'Running')).status?.domain?.boots).toBe(1);
    for (const name of await names()) await node.delete(name);
    expect(await node.libvirtd.virsh('list', '--all', '--name')).toBe('');
    expect(await readdir(instances)).toHaveLength(2);
  });
});
