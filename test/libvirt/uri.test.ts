import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openTransport, socketPaths } from '../../src/libvirt/transport.ts';
import { parseUri } from '../../src/libvirt/uri.ts';
import { makeTestFolder } from '../support/test-folder.ts';

const paths = (uri: string, options = {}): string[] => socketPaths(parseUri(uri), options);

describe('a URI', () => {
  it.each([
    ['qemu:///system', { driver: 'qemu', transport: 'unix', host: '', name: 'qemu:///system' }],
    ['qemu:///session', { transport: 'unix', path: '/session', name: 'qemu:///session' }],
    ['test:///default', { driver: 'test', name: 'test:///default' }],
    ['qemu+unix:///system?socket=/a%20b/sock', { socket: '/a b/sock', name: 'qemu:///system' }],
    ['qemu+tcp://host:1234/system', { transport: 'tcp', host: 'host', port: 1234, name: 'qemu:///system' }],
    ['qemu+tcp://[::1]/system', { transport: 'tcp', host: '::1', port: undefined }],
    [
      'qemu+tls://host/system?pkipath=/p&no_verify=1',
      { transport: 'tls', pkiPath: '/p', verify: false, name: 'qemu:///system' },
    ],
    ['qemu://host/system', { transport: 'tls', host: 'host', verify: true }],
    ['qemu+tls://host/system?name=qemu:///other', { name: 'qemu:///other' }],
    ['esx:///x?transport=http&mode=direct', { mode: 'direct', name: 'esx:///x?transport=http' }],
  ])('%s is understood', (uri, expected) => {
    expect(parseUri(uri)).toMatchObject(expected);
  });

  it.each(['', 'qemu', 'qemu:/system', 'qemu+ssh://h/system', 'qemu+unix://h/system', 'qemu+tcp://h:0/system'])(
    '%j is refused',
    (uri) => {
      expect(() => parseUri(uri)).toThrow(expect.objectContaining({ exitCode: 2 }));
    },
  );

  it.each(['qemu:///system?mode=x', 'qemu+tcp://h/system?socket=/s', 'qemu+tcp://me@h/system'])(
    '%s is refused',
    (uri) => {
      expect(() => parseUri(uri)).toThrow(expect.objectContaining({ exitCode: 2 }));
    },
  );
});

describe('the socket', () => {
  it("is the driver's own daemon's, else libvirtd's", () => {
    expect(paths('qemu:///system')).toEqual(['/run/libvirt/virtqemud-sock', '/run/libvirt/libvirt-sock']);
    expect(paths('network:///system')).toEqual(['/run/libvirt/virtnetworkd-sock', '/run/libvirt/libvirt-sock']);
    expect(paths('storage:///system?mode=direct')).toEqual(['/run/libvirt/virtstoraged-sock']);
    expect(paths('nodedev:///system?mode=legacy')).toEqual(['/run/libvirt/libvirt-sock']);
    expect(paths('secret:///system')[0]).toBe('/run/libvirt/virtsecretd-sock');
    expect(paths('nwfilter:///system')[0]).toBe('/run/libvirt/virtnwfilterd-sock');
    expect(paths('test:///default')).toEqual(['/run/libvirt/libvirt-sock']);
    expect(() => paths('test:///default?mode=direct')).toThrow(/no daemon of its own/);
  });

  it('that only lets one read has a name of its own', () => {
    expect(paths('qemu:///system', { readOnly: true })).toEqual([
      '/run/libvirt/virtqemud-sock-ro',
      '/run/libvirt/libvirt-sock-ro',
    ]);
  });

  it("of a session is in the user's runtime directory, which has to be known", () => {
    expect(paths('qemu:///session', { runtimeDirectory: '/run/user/7' })).toEqual([
      '/run/user/7/libvirt/virtqemud-sock',
      '/run/user/7/libvirt/libvirt-sock',
    ]);
    expect(() => paths('qemu:///session')).toThrow(/runtime directory/);
  });

  it('of libvirtd is used where the split daemon is not there, or is dead', async () => {
    const folder = join(makeTestFolder('sockets'), 'libvirt');
    await mkdir(folder);
    const server = createServer((socket) => socket.end('legacy')).listen(join(folder, 'libvirt-sock'));
    await once(server, 'listening');
    const read = async (): Promise<string> => {
      const options = { systemDirectory: folder };
      const socket = await openTransport(parseUri('qemu:///system'), options, new AbortController().signal);
      const [data] = (await once(socket, 'data')) as [Buffer];
      socket.destroy();
      return data.toString();
    };
    expect(await read()).toBe('legacy');
    // A file at which nobody listens any more.
    writeFileSync(join(folder, 'virtqemud-sock'), '');
    expect(await read()).toBe('legacy');
    server.close();
  });
});
