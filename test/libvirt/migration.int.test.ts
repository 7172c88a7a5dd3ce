import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isNotFound, LibvirtError } from '../../src/libvirt/errors.ts';
import { openLibvirt, type Libvirt } from '../../src/libvirt/libvirt.ts';
import type { Domain } from '../../src/libvirt/objects/domain.ts';
import { guestXml, testGuest } from '../support/guest.ts';
import { linkNodes, startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import { runProgram } from '../support/run-program.ts';
import { EventLog } from './event-log.ts';

describe('live migration between two hosts', () => {
  let nodes: [LibvirtdNode, LibvirtdNode];
  let hosts: [Libvirt, Libvirt];
  let events: [EventLog, EventLog];
  let addresses: string[];
  let domain: Domain;

  beforeAll(async () => {
    nodes = await Promise.all([startLibvirtd(), startLibvirtd()]);
    addresses = await linkNodes(nodes);
    hosts = [await openLibvirt(nodes[0].uri), await openLibvirt(nodes[1].uri)];
    const kinds = ['domain.lifecycle', 'domain.jobCompleted', 'domain.migrationIteration'] as const;
    events = [new EventLog(await hosts[0].watch(kinds)), new EventLog(await hosts[1].watch(kinds))];
    const disk = `${nodes[0].dir}/disk.qcow2`;
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '32M']);
    domain = await hosts[0].domains.defineXml(guestXml(await testGuest(), { name: 'web', disks: [disk] }));
    await domain.start();
    await events[0].guestIsUp(domain);
  });

  afterAll(async () => {
    await Promise.all(hosts.map((host) => host.close()));
    await Promise.all(nodes.map((node) => node.close()));
  });

  it('moves a guest, which runs on, with its configuration', async () => {
    const boot = await bootId();
    await domain.job.migrateToUri(nodes[1].uri, {
      live: true,
      persistDest: true,
      undefineSource: true,
      unsafe: true,
      migrateUri: `tcp://${addresses[1] ?? ''}`,
      bandwidthMiB: 1000,
      timeoutMs: 120_000,
    });
    await expect(hosts[0].domains.byName('web')).rejects.toSatisfy(isNotFound);
    const moved = await hosts[1].domains.byUuid(domain.uuid);
    expect(await moved.state()).toEqual({ state: 'running', reason: 'migrated' });
    expect(await moved.isPersistent()).toBe(true);
    await events[0].expect({ kind: 'domain.lifecycle', event: 'stopped', detail: 'migrated' });
    await events[0].expect({ kind: 'domain.jobCompleted', job: { operation: 'migration-out', type: 'completed' } });
    await events[0].expect({ kind: 'domain.migrationIteration' });
    await events[1].expect({ kind: 'domain.lifecycle', event: 'resumed', detail: 'migrated' });
    const stats = await moved.job.stats({ completed: true });
    expect(stats.operation).toBe('migration-in');
    expect(stats.processedBytes).toBeGreaterThan(1_000_000);
    domain = moved;
    await events[1].guestIsUp(domain);
    expect(await bootId()).toBe(boot);
  });

  it('is aborted half way, and the guest stays', async () => {
    const migration = domain.job.migrateToUri(nodes[0].uri, {
      live: true,
      unsafe: true,
      migrateUri: `tcp://${addresses[0] ?? ''}`,
      bandwidthMiB: 1,
    });
    const outcome = migration.catch((error: unknown) => error);
    await expect.poll(async () => (await domain.job.stats()).operation, { interval: 20 }).toBe('migration-out');
    const running = await domain.job.stats();
    expect(running.type).toBe('unbounded');
    await domain.job.setMaxSpeed(2);
    await domain.job.setMaxDowntime(500);
    await domain.job.abort();
    expect(await outcome).toBeInstanceOf(LibvirtError);
    expect(await domain.state()).toMatchObject({ state: 'running' });
    expect((await hosts[0].domains.list()).length).toBe(0);
  });

  it('says why it cannot be done', async () => {
    const impossible = domain.job.migrateToUri(`qemu+unix:///system?socket=${nodes[0].dir}/nobody`, { live: true });
    await expect(impossible).rejects.toBeInstanceOf(LibvirtError);
    expect(await domain.state()).toMatchObject({ state: 'running' });
  });

  /** Changes when the guest boots. */
  async function bootId(): Promise<unknown> {
    const path = '/proc/sys/kernel/random/boot_id';
    const handle = await domain.guest.command({ execute: 'guest-file-open', arguments: { path, mode: 'r' } });
    const read = { execute: 'guest-file-read', arguments: { handle, count: 36 } };
    const { 'buf-b64': content } = (await domain.guest.command(read)) as { 'buf-b64': string };
    await domain.guest.command({ execute: 'guest-file-close', arguments: { handle } });
    return Buffer.from(content, 'base64').toString();
  }
});
