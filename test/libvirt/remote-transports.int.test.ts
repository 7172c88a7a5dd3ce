import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../src/libvirt/connect.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import { makeAuthority, makeCertificate } from '../support/test-certificates.ts';
import { makeTestFolder } from '../support/test-folder.ts';

let node: LibvirtdNode;
let tcpPort: number;
let tlsPort: number;
const folder = makeTestFolder('remote');

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

beforeAll(async () => {
  const authority = await makeAuthority(folder, 'ca');
  const hosts = ['DNS:localhost', 'IP:127.0.0.1'];
  const server = await makeCertificate(folder, 'server', authority, '/CN=localhost', hosts);
  const client = await makeCertificate(folder, 'client', authority, '/CN=client');
  const other = await makeAuthority(folder, 'other');
  const stranger = await makeCertificate(folder, 'stranger', other, '/CN=stranger');
  for (const [name, files] of Object.entries({ client, stranger })) {
    const pki = join(folder, `pki-${name}`);
    mkdirSync(pki);
    copyFileSync(authority.cert, join(pki, 'cacert.pem'));
    copyFileSync(files.cert, join(pki, 'clientcert.pem'));
    copyFileSync(files.key, join(pki, 'clientkey.pem'));
  }
  [tcpPort, tlsPort] = [await freePort(), await freePort()];
  node = await startLibvirtd({
    hostNetwork: true,
    args: ['--listen'],
    libvirtdConf: {
      listen_tcp: 1,
      listen_tls: 1,
      listen_addr: '127.0.0.1',
      tcp_port: String(tcpPort),
      tls_port: String(tlsPort),
      auth_tcp: 'none',
      auth_tls: 'none',
      ca_file: authority.cert,
      cert_file: server.cert,
      key_file: server.key,
    },
  });
});

afterAll(() => node.close());

describe('a real libvirtd answers', () => {
  it('over TCP', async () => {
    const connection = await connect(`qemu+tcp://127.0.0.1:${tcpPort}/system`);
    expect(await connection.call('connectGetUri', undefined)).toEqual({ uri: 'qemu:///system' });
    await connection.close();
  });

  it('over TLS to a client whose certificate it trusts', async () => {
    for (const host of ['localhost', '127.0.0.1']) {
      const uri = `qemu+tls://${host}:${tlsPort}/system?pkipath=${join(folder, 'pki-client')}`;
      const connection = await connect(uri);
      const calls = Array.from({ length: 200 }, () => connection.call('connectGetUri', undefined));
      expect(new Set((await Promise.all(calls)).map((result) => result.uri))).toEqual(new Set(['qemu:///system']));
      await connection.close();
    }
  });

  it('over TLS with streams whose data arrives as it was sent', async () => {
    const connection = await connect(`qemu+tls://localhost:${tlsPort}/system?pkipath=${join(folder, 'pki-client')}`);
    const path = join(node.dir, 'pool');
    mkdirSync(path);
    const poolXml = `<pool type='dir'><name>p</name><target><path>${path}</path></target></pool>`;
    const { pool } = await connection.call('storagePoolCreateXml', { xml: poolXml, flags: 0 });
    const xml = `<volume><name>v</name><capacity unit='MiB'>8</capacity></volume>`;
    const { vol } = await connection.call('storageVolCreateXml', { pool, xml, flags: 0 });
    const data = randomBytes(8 << 20);
    const up = await connection.openStream('storageVolUpload', { vol, offset: 0n, length: 0n, flags: 0 });
    await up.stream.write(data);
    await up.stream.finish();
    const down = await connection.openStream('storageVolDownload', { vol, offset: 0n, length: 0n, flags: 0 });
    const chunks: Buffer[] = [];
    for await (const chunk of down.stream) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
    await connection.close();
  });

  it('over TLS to nobody else', async () => {
    const uri = `qemu+tls://localhost:${tlsPort}/system?pkipath=${join(folder, 'pki-stranger')}`;
    await expect(connect(uri)).rejects.toMatchObject({ name: 'AuthenticationError', exitCode: 7 });
  });
});
