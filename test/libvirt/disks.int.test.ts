import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isNotFound } from '../../src/libvirt/errors.ts';
import { openLibvirt, type Libvirt } from '../../src/libvirt/libvirt.ts';
import type { Domain } from '../../src/libvirt/objects/domain.ts';
import type { TreeNode } from '../../src/libvirt/objects/tree.ts';
import { guestXml, testGuest } from '../support/guest.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import { runProgram } from '../support/run-program.ts';
import { EventLog } from './event-log.ts';

describe('the disks of a domain', () => {
  let node: LibvirtdNode;
  let libvirt: Libvirt;
  let events: EventLog;
  let domain: Domain;
  let path: (name: string) => string;

  beforeAll(async () => {
    node = await startLibvirtd();
    path = (name) => `${node.dir}/${name}`;
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', path('disk.qcow2'), '32M']);
    libvirt = await openLibvirt(node.uri);
    const kinds = ['domain.blockJob2', 'domain.jobCompleted', 'domain.lifecycle', 'domain.blockThreshold'] as const;
    events = new EventLog(await libvirt.watch(kinds));
    const xml = guestXml(await testGuest(), { name: 'web', disks: [path('disk.qcow2')] });
    domain = await libvirt.domains.defineXml(xml);
    await domain.start();
    await events.guestIsUp(domain);
  });

  afterAll(async () => {
    await libvirt.close();
    await node.close();
  });

  const names = (tree: readonly TreeNode<{ name: string }>[]): unknown =>
    tree.map(({ item, children }) => [item.name, names(children)]);
  const readNote = async (): Promise<string> => {
    const started = (await domain.guest.command({
      execute: 'guest-exec',
      arguments: { path: '/bin/cat', arg: ['/data/note'], 'capture-output': true },
    })) as { pid: number };
    for (;;) {
      const status = (await domain.guest.command({
        execute: 'guest-exec-status',
        arguments: { pid: started.pid },
      })) as { exited: boolean; 'out-data'?: string };
      if (status.exited)
        return Buffer.from(status['out-data'] ?? '', 'base64')
          .toString()
          .trim();
    }
  };
  const note = async (text: string): Promise<void> => {
    const opened = await domain.guest.command({
      execute: 'guest-file-open',
      arguments: { path: '/data/note', mode: 'w' },
    });
    const content = Buffer.from(text).toString('base64');
    const args = { handle: opened, 'buf-b64': content };
    await domain.guest.command({ execute: 'guest-file-write', arguments: args });
    await domain.guest.command({ execute: 'guest-file-close', arguments: { handle: opened } });
  };

  it('are snapshot with memory, as a tree, and reverted to', async () => {
    await note('first');
    const first = await domain.snapshots.create('<domainsnapshot><name>one</name></domainsnapshot>');
    await note('second');
    await domain.snapshots.create('<domainsnapshot><name>two</name></domainsnapshot>');
    expect((await domain.snapshots.current())?.name).toBe('two');
    expect((await domain.snapshots.list()).map(({ name }) => name).sort()).toEqual(['one', 'two']);
    expect(names(await domain.snapshots.tree())).toEqual([['one', [['two', []]]]]);
    expect((await first.xml()).trimEnd()).toBe(await node.virsh('snapshot-dumpxml', 'web', 'one'));
    await first.revert();
    await events.guestIsUp(domain);
    expect(await readNote()).toBe('first');
    expect(await first.isCurrent()).toBe(true);
    await domain.snapshots.create('<domainsnapshot><name>three</name></domainsnapshot>');
    expect(names(await domain.snapshots.tree())).toEqual([
      [
        'one',
        [
          ['three', []],
          ['two', []],
        ],
      ],
    ]);
    expect((await first.children()).map(({ name }) => name).sort()).toEqual(['three', 'two']);
    await events.expect({ kind: 'domain.lifecycle', detail: 'from-snapshot' });
    await first.delete({ children: true });
    expect(await domain.snapshots.list()).toEqual([]);
    expect(await domain.snapshots.current()).toBeUndefined();
    await expect(domain.snapshots.byName('one')).rejects.toSatisfy(isNotFound);
  });

  it('are snapshot into an overlay, which is committed back', async () => {
    await domain.snapshots.create(
      `<domainsnapshot><name>overlay</name><disks><disk name='vda' snapshot='external'><source file='${path('overlay.qcow2')}'/></disk></disks></domainsnapshot>`,
      { diskOnly: true, atomic: true, noMetadata: true },
    );
    expect(await domain.xml()).toContain('overlay.qcow2');
    await domain.blocks.commit('vda', { active: true });
    await events.expect({ kind: 'domain.blockJob2', disk: 'vda', job: 'active-commit', status: 'ready' });
    expect(await domain.blocks.job('vda')).toMatchObject({ type: 'active-commit' });
    await domain.blocks.abort('vda', { pivot: true });
    await events.expect({ kind: 'domain.blockJob2', job: 'active-commit', status: 'completed' });
    expect(await domain.blocks.job('vda')).toBeUndefined();
    expect(await domain.xml()).not.toContain('overlay.qcow2');
  });

  it('are flattened by a pull', async () => {
    await domain.snapshots.create(
      `<domainsnapshot><disks><disk name='vda' snapshot='external'><source file='${path('top.qcow2')}'/></disk></disks></domainsnapshot>`,
      { diskOnly: true, noMetadata: true },
    );
    await domain.blocks.pull('vda', { bandwidthBytes: 100_000_000 });
    await events.expect({ kind: 'domain.blockJob2', disk: 'vda', job: 'pull', status: 'completed' });
    const chain = await runProgram('qemu-img', ['info', '-U', '--output=json', path('top.qcow2')]);
    expect(JSON.parse(chain)).not.toHaveProperty('backing-filename');
  });

  it('are mirrored to another file', async () => {
    const xml = `<disk type='file'><driver type='qcow2'/><source file='${path('copy.qcow2')}'/></disk>`;
    await domain.blocks.copy('vda', xml, { transientJob: true, bandwidthBytes: 500_000_000 });
    await events.expect({ kind: 'domain.blockJob2', disk: 'vda', job: 'copy', status: 'ready' });
    await domain.blocks.abort('vda', { pivot: true });
    await events.expect({ kind: 'domain.blockJob2', job: 'copy', status: 'completed' });
    expect(await domain.xml()).toContain('copy.qcow2');
  });

  it('grow while the guest runs', async () => {
    await domain.blocks.resize('vda', 64 * 1024 * 1024);
    expect(await domain.blocks.info('vda')).toMatchObject({ capacityBytes: 64 * 1024 * 1024 });
    expect(await node.virsh('domblkinfo', 'web', 'vda')).toMatch(/Capacity: +67108864/);
  });

  it('tell when a write passes a threshold', async () => {
    const { blocks } = (await libvirt.domains.stats(['block'], { backing: true }))[0] ?? {};
    expect(blocks?.[0]?.name).toBe('vda');
    await domain.blocks.setThreshold('vda', 1);
    await note('x'.repeat(1000));
    await events.expect({ kind: 'domain.blockThreshold', thresholdBytes: 1 });
  });

  it('are backed up in full, then what changed since a checkpoint', async () => {
    await domain.checkpoints.beginBackup(
      `<domainbackup><disks><disk name='vda' type='file'><target file='${path('full.qcow2')}'/><driver type='qcow2'/></disk></disks></domainbackup>`,
      { checkpointXml: '<domaincheckpoint><name>monday</name></domaincheckpoint>' },
    );
    await events.expect({ kind: 'domain.jobCompleted', job: { operation: 'backup', type: 'completed' } });
    await domain.checkpoints.create('<domaincheckpoint><name>tuesday</name></domaincheckpoint>');
    expect(names(await domain.checkpoints.tree())).toEqual([['monday', [['tuesday', []]]]]);
    const monday = await domain.checkpoints.byName('monday');
    expect((await monday.xml()).trimEnd()).toBe(await node.virsh('checkpoint-dumpxml', 'web', 'monday'));
    expect(await monday.xml({ size: true, noDomain: true })).toMatch(/size='\d+'/);
    await domain.checkpoints.beginBackup(
      `<domainbackup><incremental>monday</incremental><disks><disk name='vda' type='file'><target file='${path('incremental.qcow2')}'/><driver type='qcow2'/></disk></disks></domainbackup>`,
    );
    await events.expect({ kind: 'domain.jobCompleted', job: { operation: 'backup' } });
    await monday.delete({ children: true });
    expect(await domain.checkpoints.list()).toEqual([]);
  });
});
