import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Paths of a certificate and its private key, both PEM. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/**
 * Makes a self-signed certificate authority in `folder` with openssl.
 *
 * @param name The files' name and the subject's common name.
 */
export async function makeAuthority(folder: string, name: string): Promise<CertificateFiles> {
  const files = filesOf(folder, name);
  await run('openssl', [
    ...request(files, `/CN=${name}`),
    ...['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
  ]);
  return files;
}

/**
 * Makes a certificate signed by `authority`, for servers and clients alike.
 *
 * @param subject As openssl takes it, such as `/O=system:masters/CN=admin`.
 * @param hosts What it is valid for as a server, such as `IP:127.0.0.1` and `DNS:localhost`.
 */
export async function makeCertificate(
  folder: string,
  name: string,
  authority: CertificateFiles,
  subject: string,
  hosts: readonly string[] = [],
): Promise<CertificateFiles> {
  const files = filesOf(folder, name);
  await run('openssl', [
    ...request(files, subject),
    ...['-CA', authority.cert, '-CAkey', authority.key],
    ...['-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'extendedKeyUsage=serverAuth,clientAuth'],
    ...(hosts.length === 0 ? [] : ['-addext', `subjectAltName=${hosts.join(',')}`]),
  ]);
  return files;
}

function filesOf(folder: string, name: string): CertificateFiles {
  return { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
}

function request(files: CertificateFiles, subject: string): string[] {
  return [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc', '-days', '2'],
    ...['-keyout', files.key, '-out', files.cert, '-subj', subject],
  ];
}
