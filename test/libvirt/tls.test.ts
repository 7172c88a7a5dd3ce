import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../src/libvirt/connect.ts';
import { startFakeTlsLibvirtd, type FakeLibvirtd } from '../support/fake-libvirtd.ts';
import { makeAuthority, makeCertificate, type CertificateFiles } from '../support/test-certificates.ts';
import { makeTestFolder } from '../support/test-folder.ts';

const folder = makeTestFolder('pki');
let authority: CertificateFiles;
let server: CertificateFiles;
let elsewhere: CertificateFiles;
let client: CertificateFiles;
let stranger: CertificateFiles;
let running: FakeLibvirtd | undefined;

beforeAll(async () => {
  authority = await makeAuthority(folder, 'ca');
  const other = await makeAuthority(folder, 'other');
  server = await makeCertificate(folder, 'server', authority, '/CN=localhost', ['DNS:localhost', 'IP:127.0.0.1']);
  elsewhere = await makeCertificate(folder, 'elsewhere', authority, '/CN=elsewhere', ['DNS:elsewhere']);
  client = await makeCertificate(folder, 'client', authority, '/CN=client');
  stranger = await makeCertificate(folder, 'stranger', other, '/CN=stranger');
});

afterEach(async () => {
  await running?.close();
  running = undefined;
});

/** A folder as ?pkipath= names it. */
function pki(name: string, own: CertificateFiles | undefined): string {
  const path = join(folder, `pki-${name}`);
  mkdirSync(path, { recursive: true });
  copyFileSync(authority.cert, join(path, 'cacert.pem'));
  if (own !== undefined) {
    copyFileSync(own.cert, join(path, 'clientcert.pem'));
    copyFileSync(own.key, join(path, 'clientkey.pem'));
  }
  return path;
}

async function start(certificate: CertificateFiles, verdict = 1): Promise<FakeLibvirtd> {
  running = await startFakeTlsLibvirtd(
    {
      cert: readFileSync(certificate.cert),
      key: readFileSync(certificate.key),
      ca: readFileSync(authority.cert),
      requestCert: true,
    },
    verdict,
  );
  return running;
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('TLS', () => {
  it('connects with certificates that both sides trust, after the word of welcome', async () => {
    const { uri } = await start(server);
    const connection = await connect(`${uri}?pkipath=${pki('good', client)}`);
    expect(await connection.call('connectGetHostname', undefined)).toEqual({ hostname: 'fake' });
    await connection.close();
  });

  it('fails in plain words where the server does not like our certificate after all', async () => {
    const { uri } = await start(server, 0);
    const error = await failure(connect(`${uri}?pkipath=${pki('good', client)}`));
    expect(error).toMatchObject({ exitCode: 7, message: 'the server refused our certificate' });
  });

  it('fails where the server refuses our certificate in the handshake', async () => {
    const { uri } = await start(server);
    const error = await failure(connect(`${uri}?pkipath=${pki('stranger', stranger)}`));
    expect(error).toMatchObject({ name: expect.stringMatching(/AuthenticationError|ConnectionError/) as string });
  });

  it('refuses a server of another name, unless told not to verify', async () => {
    const { uri } = await start(elsewhere);
    const path = pki('good', client);
    expect(await failure(connect(`${uri}?pkipath=${path}`))).toMatchObject({ exitCode: 6, message: /elsewhere/ });
    await (await connect(`${uri}?pkipath=${path}&no_verify=1`)).close();
  });

  it('says which file is missing', async () => {
    const { uri } = await start(server);
    expect(await failure(connect(`${uri}?pkipath=/nonexistent`))).toMatchObject({
      message: /\/nonexistent\/cacert\.pem/,
    });
  });
});
