import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAgentUnavailable, LibvirtError } from '../../src/libvirt/errors.ts';
import { openLibvirt, type Libvirt } from '../../src/libvirt/libvirt.ts';
import type { Domain } from '../../src/libvirt/objects/domain.ts';
import type { LibvirtStream } from '../../src/libvirt/stream.ts';
import { guestXml, testGuest } from '../support/guest.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import { runProgram } from '../support/run-program.ts';
import { EventLog } from './event-log.ts';

const mac = '52:54:00:12:34:56';

/** A console's text, read up to a word. */
class Dialogue {
  readonly stream: LibvirtStream;
  readonly #pieces: AsyncIterator<Buffer, undefined>;
  #text = '';

  constructor(stream: LibvirtStream) {
    this.stream = stream;
    this.#pieces = stream[Symbol.asyncIterator]();
  }

  async until(word: string): Promise<string> {
    while (!this.#text.includes(word)) {
      const next = await this.#pieces.next();
      if (next.done === true) throw new Error(`the console ended before ${word}: ${this.#text}`);
      this.#text += next.value.toString('latin1');
    }
    const end = this.#text.indexOf(word) + word.length;
    const before = this.#text.slice(0, end);
    this.#text = this.#text.slice(end);
    return before;
  }
}

describe('a real guest', () => {
  let node: LibvirtdNode;
  let libvirt: Libvirt;
  let events: EventLog;
  let domain: Domain;

  beforeAll(async () => {
    node = await startLibvirtd();
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', `${node.dir}/disk.qcow2`, '32M']);
    libvirt = await openLibvirt(node.uri);
    events = new EventLog(
      await libvirt.watch([
        'domain.agentLifecycle',
        'domain.graphics',
        'domain.trayChange',
        'domain.lifecycle',
        'domain.rtcChange',
      ]),
    );
    const network = await libvirt.networks.createXml(
      `<network><name>front</name><forward mode='nat'/><bridge name='virbr7'/><ip address='192.168.77.1' netmask='255.255.255.0'><dhcp><range start='192.168.77.10' end='192.168.77.20'/></dhcp></ip></network>`,
    );
    expect(await network.isPersistent()).toBe(false);
    await writeFile(`${node.dir}/cd.iso`, Buffer.alloc(1 << 20));
    const cdrom = {
      '@type': 'file',
      '@device': 'cdrom',
      source: { '@file': `${node.dir}/cd.iso` },
      target: { '@dev': 'sda', '@bus': 'scsi' },
    };
    const xml = guestXml(await testGuest(), {
      name: 'web',
      disks: [`${node.dir}/disk.qcow2`],
      network: 'front',
      mac,
      devices: {
        disk: [
          {
            '@type': 'file',
            '@device': 'disk',
            driver: { '@name': 'qemu', '@type': 'qcow2' },
            source: { '@file': `${node.dir}/disk.qcow2` },
            target: { '@dev': 'vda', '@bus': 'virtio' },
          },
          cdrom,
        ],
        controller: { '@type': 'scsi', '@model': 'virtio-scsi' },
        graphics: { '@type': 'vnc', '@autoport': 'yes', listen: { '@type': 'socket', '@socket': `${node.dir}/vnc` } },
        video: { model: { '@type': 'vga' } },
      },
    });
    domain = await libvirt.domains.createXml(xml, { paused: true });
  });

  afterAll(async () => {
    await libvirt.close();
    await node.close();
  });

  it('answers on its console, which a second reader cannot take without force', async () => {
    const console = new Dialogue(await domain.openConsole());
    await domain.resume();
    await console.until('virtctl-guest ready boots=1');
    await console.until('guest# ');
    await console.stream.write(Buffer.from('echo $((6 * 7)) answers\n'));
    expect(await console.until('42 answers')).toContain('echo');
    await expect(domain.openConsole({ safe: true })).rejects.toBeInstanceOf(LibvirtError);
    const taken = new Dialogue(await domain.openConsole({ force: true }));
    await taken.stream.write(Buffer.from('echo still $((2 + 2)) here\n'));
    await taken.until('still 4 here');
    taken.stream.abort();
    expect(await libvirt.node.hostname()).toBe(node.name);
  });

  it('sends megabytes through its console without loss', async () => {
    const console = new Dialogue(await domain.openConsole());
    await console.stream.write(Buffer.from('stty -echo; seq 1 20000; echo over\n'));
    const text = await console.until('20000\r\nover');
    const numbers = [...text.matchAll(/^(\d+)\r?$/gm)].map((match) => Number(match[1]));
    expect(numbers).toEqual(Array.from({ length: 20000 }, (_none, at) => at + 1));
    console.stream.abort();
  });

  it('has an agent that says what is inside', async () => {
    await events.expect({ kind: 'domain.agentLifecycle', state: 'connected' });
    expect(await domain.guest.command({ execute: 'guest-ping' })).toEqual({});
    expect(await domain.guest.hostname({ source: 'agent' })).toBe('guest');
    const info = await domain.guest.info({ os: true, hostname: true });
    expect(info).toMatchObject({ 'os.id': 'virtctl-guest', hostname: 'guest' });
    const systems = await domain.guest.fileSystems();
    expect(systems).toMatchObject([{ mountpoint: '/data', type: 'ext2' }]);
    expect(await domain.guest.freeze()).toBe(1);
    expect(await domain.guest.thaw()).toBe(1);
    expect(Math.abs((await domain.guest.time()) - Date.now())).toBeLessThan(10_000);
    await domain.guest.setTime(Date.now());
    await domain.guest.setUserPassword('root', 'secret');
    await domain.guest.setSshKeys('root', ['ssh-ed25519 AAAA one']);
    expect(await domain.guest.sshKeys('root')).toEqual(['ssh-ed25519 AAAA one']);
    await expect(domain.guest.command({ execute: 'no-such-command' })).rejects.toBeInstanceOf(LibvirtError);
  });

  it('has one address by lease, ARP and agent, as virsh says', async () => {
    const network = await libvirt.networks.byName('front');
    await expect.poll(() => network.leases(), { timeout: 30_000 }).toHaveLength(1);
    const [lease] = await network.leases({ mac });
    expect(lease).toMatchObject({ mac, family: 'ipv4', prefix: 24, interface: 'virbr7' });
    expect(lease?.expiresAt).toBeGreaterThan(Date.now());
    const address = lease?.address ?? '';
    expect(await node.virsh('net-dhcp-leases', 'front')).toContain(`${address}/24`);
    const found = { mac, addresses: [{ family: 'ipv4', address }] };
    expect(await domain.guest.interfaceAddresses('lease')).toMatchObject([found]);
    // libvirt 9.0 cannot read the neighbours of every kernel: then virsh cannot either.
    const neighbours = await node.virsh('domifaddr', 'web', '--source', 'arp').catch((error: unknown) => String(error));
    if (neighbours.includes(address)) {
      expect(await domain.guest.interfaceAddresses('arp')).toMatchObject([found]);
    } else {
      const refusal = await domain.guest.interfaceAddresses('arp').catch((error: unknown) => error as Error);
      expect(refusal).toBeInstanceOf(LibvirtError);
      expect(neighbours).toContain((refusal as Error).message);
    }
    const byAgent = await domain.guest.interfaceAddresses('agent');
    const card = byAgent.find(({ name }) => name === 'eth0');
    expect(card?.mac).toBe(mac);
    expect(card?.addresses).toContainEqual({ family: 'ipv4', address, prefix: 24 });
    expect(await node.virsh('domifaddr', 'web', '--source', 'agent')).toContain(address);
  });

  it('shows its screen', async () => {
    const { mime, stream } = await domain.screenshot();
    const picture = await buffer(Readable.from(stream));
    const magic = { 'image/png': '\x89PNG', 'image/x-portable-pixmap': 'P6\n' }[mime ?? ''];
    expect(picture.toString('latin1').startsWith(magic ?? 'another type')).toBe(true);
    expect(picture.length).toBeGreaterThan(1000);
  });

  it('tells who looks at its screen', async () => {
    const viewer = createConnection(`${node.dir}/vnc`);
    await once(viewer, 'data');
    viewer.end('RFB 003.008\n');
    await once(viewer, 'close');
    await events.expect({ kind: 'domain.graphics', phase: 'connect' });
    await events.expect({ kind: 'domain.graphics', phase: 'disconnect' });
  });

  it('opens its tray when the medium is changed', async () => {
    const cd = (file: string): string =>
      `<disk type='file' device='cdrom'>${file === '' ? '' : `<source file='${file}'/>`}<target dev='sda' bus='scsi'/></disk>`;
    await domain.updateDevice(cd(''), { live: true, force: true });
    await events.expect({ kind: 'domain.trayChange', reason: 'open' });
    await domain.updateDevice(cd(`${node.dir}/cd.iso`), { live: true, force: true });
    await events.expect({ kind: 'domain.trayChange', reason: 'close' });
  });

  it('says that its agent is gone', async () => {
    await domain.guest.command({
      execute: 'guest-exec',
      arguments: { path: '/bin/sh', arg: ['-c', 'killall -STOP guestd; killall qemu-ga'] },
    });
    await events.expect({ kind: 'domain.agentLifecycle', state: 'disconnected', reason: 'channel' });
    await expect(domain.guest.command({ execute: 'guest-ping' })).rejects.toSatisfy(isAgentUnavailable);
  });
});
