import { existsSync } from 'node:fs';
import { readFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildVirtctl, kubectl, type CallResult, type VirtctlProcess } from './virtctl-process.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { guestMachine } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';

describe('hostile input', () => {
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

  function machine(metadata: object, spec: VirtualMachineSpec): string {
    return JSON.stringify({ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine', metadata, spec });
  }

  function halted(name: string, spec: Partial<VirtualMachineSpec> = {}): VirtualMachineSpec {
    return { nodeName: node.name, ...guestMachine(node, guest, name, { runStrategy: 'Halted' }), ...spec };
  }

  const hostileNames = ['../../etc/passwd', '$(touch /tmp/x)', '`id`', 'a b', 'a\nb', '<x/>', '"', "'", '-rf', 'ä', ''];

  it('refuses names that are none, on the command line and in files, and asks no other path for them', async () => {
    const before = (await node.machines.listAll({ namespace: 'default' })).items.length;
    const calls = hostileNames.map(async (name) => {
      const inFile = await call(['create', '-f', '-'], machine({ name }, halted('x')));
      expect(inFile.status, `create ${JSON.stringify(name)}: ${inFile.stderr}`).toBe(8);
      expect(inFile.stderr).toContain('metadata.name');
      const named = await call(['get', 'vm', '--', name]);
      expect([2, 3, 8], `get ${JSON.stringify(name)}: ${named.stderr}`).toContain(named.status);
      const stopped = await call(['stop', '--', name]);
      expect([2, 3, 8], `stop ${JSON.stringify(name)}: ${stopped.stderr}`).toContain(stopped.status);
    });
    await Promise.all(calls);
    expect((await node.machines.listAll({ namespace: 'default' })).items).toHaveLength(before);
  });

  const texts = [
    `"quotes" 'single' \\ backslash`,
    'two\nlines\tand a tab',
    '$(touch /tmp/virtctl-was-here) `touch /tmp/virtctl-was-here`; touch /tmp/virtctl-was-here',
    '</description><devices><disk/></devices><description>',
    ']]> <!-- --> <?pi?> &amp; &lt; %s {{.}}',
    '../../../../etc/shadow',
  ];

  it('keeps texts as data, in the domain and back', async () => {
    const annotations = Object.fromEntries(texts.map((text, index) => [`example.com/${index}`, text]));
    for (const [index, text] of texts.entries()) {
      const name = `text-${index}`;
      const spec = halted(name);
      const domain = { ...spec.domain, description: text, title: text.replaceAll('\n', ' ') };
      const created = await call(['create', '-f', '-', '--wait'], machine({ name, annotations }, { ...spec, domain }));
      expect(created).toMatchObject({ status: 0 });
      expect(await node.libvirtd.virsh('desc', `default.${name}`)).toBe(text);
      expect(JSON.parse((await call(['get', 'vm', name, '-o', 'json'])).stdout)).toMatchObject({
        metadata: { annotations },
        spec: { domain: { description: text } },
      });
      expect((await call(['describe', 'vm', name])).status).toBe(0);
    }
    expect(await node.libvirtd.virsh('list', '--all', '--name')).not.toContain('disk');
    expect(existsSync('/tmp/virtctl-was-here')).toBe(false);
    const names = texts.map((_text, index) => `text-${index}`);
    expect(await call(['delete', 'vm', ...names])).toMatchObject({ status: 0 });
  });

  it('refuses what XML and what Kubernetes cannot hold, with its place', async () => {
    const refused = async (metadata: object, spec: VirtualMachineSpec, where: string): Promise<void> => {
      const result = await call(['create', '-f', '-'], machine(metadata, spec));
      expect(result, JSON.stringify(metadata)).toMatchObject({ status: 8 });
      expect(result.stderr).toContain(where);
    };
    const spec = halted('x');
    await refused({ name: 'x' }, { ...spec, domain: { ...spec.domain, title: 'null \u0000 byte' } }, 'title');
    await refused({ name: 'x', labels: { tier: '$(id)' } }, spec, 'metadata.labels');
    await refused({ name: 'x', labels: { '../x': 'y' } }, spec, 'metadata.labels');
    await refused({ name: 'x' }, { ...spec, domain: { ...spec.domain, name: '../../x' } }, 'spec.domain.name');
    await refused({ name: 'x' }, { ...spec, overlay: [{ at: '', xml: '</domain><domain>' }] }, 'spec.overlay');
    await refused(
      { name: 'x' },
      { ...spec, overlay: [{ at: '', xml: '<!DOCTYPE x [<!ENTITY a "b">]><x/>' }] },
      'overlay',
    );
  });

  it('makes no file outside of its folder for volumes of any name', async () => {
    const names = ['../../../tmp/virtctl-was-here', '..', 'a/b', '$(id)'];
    for (const name of names) {
      const result = await call(
        ['create', '-f', '-'],
        machine({ name: 'files' }, halted('files', { volumes: [{ name, emptyDisk: { capacity: '1Mi' } }] })),
      );
      expect(result, name).toMatchObject({ status: 8 });
    }
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'keys' }, data: { '..x': 'YQ==' } };
    expect((await kubectl(node, ['create', '-f', '-'], JSON.stringify(secret))).status).not.toBe(0);
    expect(existsSync('/tmp/virtctl-was-here')).toBe(false);
  });

  it('tells a secret to nobody: not in logs, events, status, libvirt or on the screen', async () => {
    const word = 'correct-horse-battery-staple';
    const encoded = Buffer.from(word).toString('base64');
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'seed' }, stringData: { userData: word } };
    expect((await kubectl(node, ['create', '-f', '-'], JSON.stringify(secret))).status).toBe(0);
    const spec: VirtualMachineSpec = {
      ...halted('quiet', { volumes: [{ name: 'seed', cloudInit: { secretRef: { name: 'seed' } } }] }),
      runStrategy: 'Always',
    };
    expect(await call(['create', '-f', '-', '--wait'], machine({ name: 'quiet' }, spec))).toMatchObject({
      status: 0,
      stderr: '',
    });
    const set = await call(
      ['set-password', 'quiet', '--user', 'root', '--password-file', '-', '--timeout', '20s'],
      `${word}\n`,
    );
    const shown = [
      set.stdout,
      set.stderr,
      (await call(['describe', 'vm', 'quiet'])).stdout,
      (await call(['get', 'vm,vmop', '-o', 'yaml'])).stdout,
      (await call(['events'])).stdout,
      (await call(['why', 'vm/quiet'])).stdout,
      await node.libvirtd.virsh('dumpxml', '--inactive', 'default.quiet'),
      JSON.stringify((await node.events.listAll({ namespace: 'default' })).items),
      await node.log(),
      await (await fetch(`${node.metricsUrl}/metrics`)).text(),
    ];
    for (const [index, text] of shown.entries()) {
      expect(text.includes(word), `place ${index}`).toBe(false);
      expect(text.includes(encoded), `place ${index}, encoded`).toBe(false);
    }
    expect((await kubectl(node, ['get', 'secrets', '-o', 'name'])).stdout).not.toContain('quiet-password');
    expect(await call(['delete', 'vm', 'quiet', '--force'])).toMatchObject({ status: 0 });
  });

  it('listens on loopback only', async () => {
    const listening = [...(await listeners(node.pid)), ...(await listeners(process.pid))];
    expect(listening.length).toBeGreaterThan(0);
    expect(listening.filter((address) => !isLoopback(address))).toEqual([]);
  });
});

/** The local addresses, as /proc/net has them, of the TCP and UDP sockets that a process listens on. */
async function listeners(pid: number): Promise<string[]> {
  const links = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(join(`/proc/${pid}/fd`, fd)).catch(() => '')),
  );
  const inodes = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const tables = ['tcp', 'tcp6', 'udp', 'udp6'].map((table) => readFile(`/proc/${pid}/net/${table}`, 'utf8'));
  const lines = (await Promise.all(tables)).flatMap((table) => table.trim().split('\n').slice(1));
  return lines.flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    // 0A is LISTEN; 07 is a UDP socket that is bound and not connected.
    return inodes.has(inode) && (state === '0A' || state === '07') ? [local] : [];
  });
}

/** 127.0.0.0/8, or ::1, in the byte order of /proc. */
function isLoopback(address: string): boolean {
  const [host = ''] = address.split(':');
  return /^[0-9A-F]{6}7F$/.test(host) || host === '00000000000000000000000001000000';
}
