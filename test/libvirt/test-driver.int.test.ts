import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isNotFound, isUnsupported } from '../../src/libvirt/errors.ts';
import { openLibvirt, type Libvirt } from '../../src/libvirt/libvirt.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import { EventLog } from './event-log.ts';

const domainXml = `<domain type='test'><name>web</name><memory>8192</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>`;

describe("libvirt's test driver", () => {
  let node: LibvirtdNode;
  let libvirt: Libvirt;
  let events: EventLog;

  beforeAll(async () => {
    node = await startLibvirtd();
    libvirt = await openLibvirt(node.testUri);
    events = new EventLog(
      await libvirt.watch(['domain.lifecycle', 'network.lifecycle', 'storagePool.lifecycle', 'nodeDevice.lifecycle']),
    );
  });

  afterAll(async () => {
    await libvirt.close();
    await node.close();
  });

  it('has what virsh sees in it', async () => {
    expect(await libvirt.node.hypervisor()).toBe('TEST');
    const [domain] = await libvirt.domains.list();
    expect(domain).toMatchObject({ name: 'test', id: 1 });
    expect((await domain?.xml())?.trimEnd()).toBe(await node.testVirsh('dumpxml', 'test'));
    const [network] = await libvirt.networks.list();
    expect((await network?.xml())?.trimEnd()).toBe(await node.testVirsh('net-dumpxml', 'default'));
    const [pool] = await libvirt.pools.list();
    expect((await pool?.xml())?.trimEnd()).toBe(await node.testVirsh('pool-dumpxml', 'default-pool'));
    expect((await libvirt.node.capabilities()).trimEnd()).toBe(await node.testVirsh('capabilities'));
  });

  it('lets a domain live its whole life', async () => {
    const domain = await libvirt.domains.defineXml(domainXml);
    await domain.start();
    await domain.suspend();
    expect(await domain.state()).toEqual({ state: 'paused', reason: 'user' });
    await domain.resume();
    await domain.reboot();
    await domain.setMetadata('a title', { type: 'title', config: true });
    await domain.managedSave();
    expect(await domain.hasManagedSave()).toBe(true);
    await domain.removeManagedSave();
    await domain.start();
    const snapshot = await domain.snapshots.create('<domainsnapshot><name>one</name></domainsnapshot>');
    await snapshot.revert({ running: true });
    expect((await domain.snapshots.current())?.name).toBe('one');
    await snapshot.delete();
    await domain.destroy();
    await domain.undefine();
    await expect(domain.state()).rejects.toSatisfy(isNotFound);
    for (const event of ['defined', 'started', 'suspended', 'resumed', 'stopped', 'undefined']) {
      await events.expect({ kind: 'domain.lifecycle', event, domain: { name: 'web' } });
    }
  });

  it('lets networks and pools live theirs', async () => {
    const network = await libvirt.networks.defineXml(
      `<network><name>n</name><bridge name='virbr9'/><ip address='10.9.0.1' netmask='255.255.255.0'/></network>`,
    );
    await network.start();
    await expect(network.leases()).rejects.toSatisfy(isUnsupported);
    await network.destroy();
    await network.undefine();
    await events.expect({ kind: 'network.lifecycle', event: 'undefined', network: { name: 'n' } });
    const pool = await libvirt.pools.byName('default-pool');
    const volume = await pool.createVolume('<volume><name>v</name><capacity>1048576</capacity></volume>');
    const clone = await pool.cloneVolume('<volume><name>c</name><capacity>1048576</capacity></volume>', volume);
    expect((await pool.volumes()).map(({ name }) => name).sort()).toEqual(['c', 'v']);
    await clone.delete();
    await volume.delete();
    await pool.destroy();
    await events.expect({ kind: 'storagePool.lifecycle', event: 'stopped' });
    await pool.start();
  });

  it('says in one word what it cannot do', async () => {
    const domain = await libvirt.domains.byName('test');
    await expect(domain.job.stats()).rejects.toSatisfy(isUnsupported);
    await expect(libvirt.secrets.list()).rejects.toSatisfy(isUnsupported);
    await expect(libvirt.watch(['secret.lifecycle'])).rejects.toSatisfy(isUnsupported);
    const feed = await libvirt.watch(['secret.lifecycle', 'domain.lifecycle'], { skipUnsupported: true });
    await domain.suspend();
    expect((await feed.next()).value).toMatchObject({ event: { event: 'suspended' } });
    await domain.resume();
    await feed.close();
  });

  it('answers a thousand calls at once, each with its own', async () => {
    const definitions = Array.from({ length: 200 }, (_none, at) => domainXml.replace('web', `many-${at}`));
    const domains = await Promise.all(definitions.map((xml) => libvirt.domains.defineXml(xml)));
    const many = Array.from({ length: 1000 }, (_none, at) => domains[at % domains.length]);
    const xmls = await Promise.all(many.map((domain) => domain?.xml() ?? Promise.resolve('')));
    for (const [at, xml] of xmls.entries()) expect(xml).toContain(`<name>many-${at % domains.length}</name>`);
    const stats = await libvirt.domains.stats(['state']);
    expect(stats).toHaveLength(201);
    await Promise.all(domains.map((domain) => domain.undefine()));
    expect(await libvirt.domains.list()).toHaveLength(1);
  });
});
