import { mkdir, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openLibvirt, type Libvirt } from '../../src/libvirt/libvirt.ts';
import { guestXml, testGuest } from '../support/guest.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import { runProgram } from '../support/run-program.ts';
import { EventLog } from './event-log.ts';

/** Real-mode code that starts the ib700 watchdog at its shortest time and halts: mov dx,443h; mov al,0fh; out dx,al. */
const watchdogBootSector = Buffer.concat([
  Buffer.from('ba4304b00feef4ebfd', 'hex'),
  Buffer.alloc(501),
  Buffer.from('55aa', 'hex'),
]);

describe('events that only guests in trouble provoke', () => {
  let node: LibvirtdNode;
  let libvirt: Libvirt;
  let events: EventLog;

  beforeAll(async () => {
    node = await startLibvirtd();
    libvirt = await openLibvirt(node.uri);
    events = new EventLog(
      await libvirt.watch([
        'domain.lifecycle',
        'domain.watchdog',
        'domain.ioError',
        'domain.ioErrorReason',
        'domain.memoryDeviceSizeChange',
        'domain.pmSuspend',
        'domain.pmWakeup',
        'domain.diskChange',
        'domain.blockJob2',
      ]),
    );
  });

  afterAll(async () => {
    await libvirt.close();
    await node.close();
  });

  it('tell of a watchdog that ran out', async () => {
    await writeFile(`${node.dir}/boot.raw`, watchdogBootSector);
    await libvirt.domains.createXml(
      `<domain type='qemu'><name>barking</name><memory unit='MiB'>64</memory><os><type machine='pc'>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${node.dir}/boot.raw'/><target dev='hda' bus='ide'/></disk><watchdog model='ib700' action='pause'/></devices></domain>`,
    );
    await events.expect({ kind: 'domain.watchdog', action: 'pause', domain: { name: 'barking' } });
    await events.expect({ kind: 'domain.lifecycle', event: 'suspended', detail: 'watchdog' });
    const domain = await libvirt.domains.byName('barking');
    expect(await domain.state()).toEqual({ state: 'paused', reason: 'watchdog' });
    await domain.destroy();
  });

  it('tell of a disk that is full, and of the guest that waits for it', async () => {
    const small = `${node.dir}/small`;
    await mkdir(small);
    await node.exec('mount', '-t', 'tmpfs', '-o', 'size=4M', 'tmpfs', small);
    await node.exec('qemu-img', 'create', '-q', '-f', 'qcow2', `${small}/disk.qcow2`, '64M');
    const domain = await libvirt.domains.createXml(
      guestXml(await testGuest(), { name: 'full', disks: [`${small}/disk.qcow2`] }),
    );
    await events.guestIsUp(domain);
    const args = { path: '/bin/dd', arg: ['if=/dev/urandom', 'of=/data/big', 'bs=1M', 'count=16'] };
    await domain.guest.command({ execute: 'guest-exec', arguments: args });
    await events.expect({ kind: 'domain.ioErrorReason', action: 'pause', reason: 'enospc', alias: 'virtio-disk0' });
    await events.expect({ kind: 'domain.ioError', action: 'pause' });
    await events.expect({ kind: 'domain.lifecycle', event: 'suspended', detail: 'io-error' });
    expect(await domain.state()).toEqual({ state: 'paused', reason: 'io-error' });
    expect(await domain.blocks.errors()).toEqual([{ disk: 'vda', error: 'no-space' }]);
    await domain.destroy();
  });

  it('tell of a memory device that grows', async () => {
    const domain = await libvirt.domains.createXml(
      guestXml(await testGuest(), {
        name: 'growing',
        domain: {
          maxMemory: { '@unit': 'MiB', '@slots': 4, '#': 1024 },
          cpu: { numa: { cell: { '@id': 0, '@cpus': 0, '@memory': 256, '@unit': 'MiB' } } },
        },
        devices: {
          memory: {
            '@model': 'virtio-mem',
            target: {
              size: { '@unit': 'MiB', '#': 256 },
              node: 0,
              block: { '@unit': 'MiB', '#': 2 },
              requested: { '@unit': 'MiB', '#': 128 },
            },
          },
        },
      }),
    );
    await events.expect({ kind: 'domain.memoryDeviceSizeChange', alias: 'virtiomem0', sizeKiB: 128 * 1024 });
    await domain.destroy();
  });

  it('tell of a guest that sleeps and wakes', async () => {
    const pm = { 'suspend-to-mem': { '@enabled': 'yes' } };
    const domain = await libvirt.domains.createXml(guestXml(await testGuest(), { name: 'tired', domain: { pm } }));
    await events.guestIsUp(domain);
    await domain.guest.pmSuspend('memory');
    await events.expect({ kind: 'domain.pmSuspend' });
    await events.expect({ kind: 'domain.lifecycle', event: 'pmsuspended', detail: 'memory' });
    await domain.pmWakeup();
    await events.expect({ kind: 'domain.pmWakeup' });
    await domain.destroy();
  });

  it('tell of a guest that panicked', async () => {
    const domain = await libvirt.domains.createXml(
      guestXml(await testGuest(), {
        name: 'panicking',
        domain: { on_crash: 'preserve' },
        devices: { panic: { '@model': 'isa' } },
      }),
    );
    await events.guestIsUp(domain);
    const console = await domain.openConsole();
    await console.write(Buffer.from('echo c >/proc/sysrq-trigger\n'));
    await events.expect({ kind: 'domain.lifecycle', event: 'crashed', detail: 'panicked' });
    expect(await domain.state()).toEqual({ state: 'crashed', reason: 'panicked' });
    await domain.destroy();
  });

  it('tell that a missing disk was left out', async () => {
    const missing = {
      '@type': 'file',
      '@device': 'cdrom',
      source: { '@file': `${node.dir}/none.iso`, '@startupPolicy': 'optional' },
    };
    const disk = { ...missing, target: { '@dev': 'sda', '@bus': 'scsi' } };
    const xml = guestXml(await testGuest(), { name: 'without', devices: { disk: [disk] } });
    const domain = await libvirt.domains.createXml(xml);
    await events.expect({ kind: 'domain.diskChange', reason: 'missing-on-start', oldPath: `${node.dir}/none.iso` });
    await domain.destroy();
  });

  it('come through a queue that says what it dropped', async () => {
    const other = await openLibvirt(node.testUri);
    const feed = await other.watch(['domain.lifecycle'], { limit: 4 });
    const domain = await other.domains.byName('test');
    for (let round = 0; round < 10; round += 1) {
      await domain.suspend();
      await domain.resume();
    }
    const events: string[] = [];
    let lost = 0;
    // The last events may come after the reply to the call that caused them.
    for await (const item of feed) {
      if (item.type === 'event') events.push(item.event.event);
      else lost += item.lost;
      if (events.length + lost === 20) break;
    }
    expect(events.slice(0, 4)).toEqual(['suspended', 'resumed', 'suspended', 'resumed']);
    expect(lost).toBeGreaterThan(0);
    expect(other.rpc.subscriptions).toBe(0);
    await other.close();
  });

  it('leave nothing behind when they are no longer watched', async () => {
    const before = libvirt.rpc.subscriptions;
    for (let round = 0; round < 50; round += 1) {
      const feed = await libvirt.watch(['domain.lifecycle', 'network.lifecycle']);
      await feed.close();
    }
    // Several watch the same kind, and each goes when it wants.
    const [one, two] = await Promise.all([libvirt.watch(['domain.lifecycle']), libvirt.watch(['domain.lifecycle'])]);
    await one.close();
    const domain = await libvirt.domains.defineXml(guestXml(await testGuest(), { name: 'seen' }));
    expect((await two.next()).value).toMatchObject({ event: { event: 'defined' } });
    await two.close();
    await domain.undefine();
    await events.expect({ kind: 'domain.lifecycle', event: 'undefined', domain: { name: 'seen' } });
    expect(libvirt.rpc.subscriptions).toBe(before);
    expect(await runProgram('virsh', ['-c', node.uri, 'hostname'])).toContain(node.name);
  });
});
