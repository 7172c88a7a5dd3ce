import { readFile } from 'node:fs/promises';
import { connect as connectNet, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type ConnectionOptions as TlsOptions } from 'node:tls';
import { onAbort } from '../base/abort.ts';
import { UsageError } from '../base/errors.ts';
import { AuthenticationError, ConnectionError } from './errors.ts';
import type { LibvirtUri } from './uri.ts';

/** What this machine is like, as far as it decides where a daemon is. */
export interface TransportOptions {
  /** XDG_RUNTIME_DIR, for `qemu:///session`. */
  readonly runtimeDirectory?: string | undefined;
  /** Where libvirt's system sockets are; /run/libvirt. */
  readonly systemDirectory?: string | undefined;
  /** Connects to the socket that only lets one read (`libvirt-sock-ro`). */
  readonly readOnly?: boolean | undefined;
}

/** The daemon of each driver where there is one per driver (https://libvirt.org/daemons.html). */
const daemons: Readonly<Record<string, string>> = {
  qemu: 'virtqemud',
  network: 'virtnetworkd',
  storage: 'virtstoraged',
  nodedev: 'virtnodedevd',
  secret: 'virtsecretd',
  nwfilter: 'virtnwfilterd',
  interface: 'virtinterfaced',
  xen: 'virtxend',
  lxc: 'virtlxcd',
  vbox: 'virtvboxd',
  ch: 'virtchd',
};

const tcpPort = 16_509;
const tlsPort = 16_514;

/**
 * The unix sockets to try, in order: the driver's own daemon, then libvirtd.
 *
 * @throws UsageError where the URI names none.
 */
export function socketPaths(uri: LibvirtUri, options: TransportOptions): string[] {
  if (uri.socket !== undefined) return [uri.socket];
  const session = uri.path === '/session';
  if (session && options.runtimeDirectory === undefined) {
    throw new UsageError(`${uri.name}: the user's runtime directory is not known`, { hint: 'set XDG_RUNTIME_DIR' });
  }
  const folder = session
    ? join(options.runtimeDirectory ?? '', 'libvirt')
    : (options.systemDirectory ?? '/run/libvirt');
  // A session's daemon is the user's own and has no second socket.
  const suffix = options.readOnly === true && !session ? '-sock-ro' : '-sock';
  const daemon = daemons[uri.driver];
  const direct = daemon === undefined || uri.mode === 'legacy' ? [] : [join(folder, `${daemon}${suffix}`)];
  const legacy = uri.mode === 'direct' ? [] : [join(folder, `libvirt${suffix}`)];
  if (direct.length + legacy.length === 0) throw new UsageError(`${uri.name}: ${uri.driver} has no daemon of its own`);
  return [...direct, ...legacy];
}

/**
 * Opens the socket that a URI names.
 *
 * @throws ConnectionError with the reason of each socket tried; AuthenticationError for certificates; the signal's
 *   reason.
 */
export async function openTransport(uri: LibvirtUri, options: TransportOptions, signal: AbortSignal): Promise<Duplex> {
  switch (uri.transport) {
    case 'unix':
      return openUnix(uri, options, signal);
    case 'tcp':
      return openSocket({ host: uri.host === '' ? 'localhost' : uri.host, port: uri.port ?? tcpPort }, signal);
    case 'tls':
      return openTls(uri, signal);
  }
}

async function openUnix(uri: LibvirtUri, options: TransportOptions, signal: AbortSignal): Promise<Socket> {
  const failures: Error[] = [];
  for (const path of socketPaths(uri, options)) {
    try {
      return await openSocket({ path }, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ConnectionError)) throw error;
      failures.push(error);
      const code = (error.cause as NodeJS.ErrnoException | undefined)?.code;
      if (code === 'EACCES' || code === 'EPERM') {
        throw new AuthenticationError(error.message, { cause: error, hint: 'join the group libvirt, or run as root' });
      }
      if (code !== 'ENOENT' && code !== 'ECONNREFUSED') throw error;
    }
  }
  const hint = 'is libvirtd (or virtqemud) running?';
  throw new ConnectionError(failures.map(({ message }) => message).join('; '), { cause: failures[0], hint });
}

function openSocket(target: { path: string } | { host: string; port: number }, signal: AbortSignal): Promise<Socket> {
  const place = 'path' in target ? target.path : `${target.host}:${target.port}`;
  const socket = 'path' in target ? connectNet(target.path) : connectNet({ ...target, noDelay: true });
  return connected(socket, 'connect', place, signal);
}

async function openTls(uri: LibvirtUri, signal: AbortSignal): Promise<Duplex> {
  const host = uri.host === '' ? 'localhost' : uri.host;
  const port = uri.port ?? tlsPort;
  const options: TlsOptions = {
    host,
    port,
    ...(await certificates(uri)),
    rejectUnauthorized: uri.verify,
    noDelay: true,
  } as TlsOptions;
  // Node takes the server's name for SNI, which must not be an address.
  const socket = connectTls(/^[\d.]+$|:/.test(host) ? options : { ...options, servername: host });
  await connected(socket, 'secureConnect', `${host}:${port}`, signal);
  await verdict(socket, signal);
  return socket;
}

/** libvirt's places (https://libvirt.org/kbase/tlscerts.html): a client without a certificate of its own has none. */
async function certificates(uri: LibvirtUri): Promise<TlsOptions> {
  const folder = uri.pkiPath;
  const ca = folder === undefined ? '/etc/pki/CA/cacert.pem' : join(folder, 'cacert.pem');
  const cert = folder === undefined ? '/etc/pki/libvirt/clientcert.pem' : join(folder, 'clientcert.pem');
  const key = folder === undefined ? '/etc/pki/libvirt/private/clientkey.pem' : join(folder, 'clientkey.pem');
  const found = await Promise.all([ca, cert, key].map(readIfThere));
  const [caText, certText, keyText] = found;
  if (caText === undefined && uri.verify) {
    throw new AuthenticationError(`${ca} does not exist`, {
      hint: 'put the CA certificate there, or name a folder by ?pkipath=',
    });
  }
  if ((certText === undefined) !== (keyText === undefined)) {
    throw new AuthenticationError(`${certText === undefined ? cert : key} does not exist, but its counterpart does`);
  }
  return { ca: caText, cert: certText, key: keyText };
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new AuthenticationError(`${path} cannot be read`, { cause: error });
  }
}

/** After the handshake the server looks at our certificate and sends one byte: 1 for welcome. */
async function verdict(socket: Duplex, signal: AbortSignal): Promise<void> {
  const refused = 'the server refused our certificate';
  if (signal.aborted) socket.destroy();
  signal.throwIfAborted();
  const byte = await new Promise<Buffer | null>((resolve, reject) => {
    const done = (act: () => void): void => {
      for (const [event, listener] of listeners) socket.removeListener(event, listener);
      forget();
      act();
    };
    const onReadable = (): void => {
      const read = socket.read(1) as Buffer | null;
      if (read !== null) done(() => resolve(read));
    };
    const listeners: [string, (error: Error) => void][] = [
      ['readable', onReadable],
      ['end', () => done(() => resolve(null))],
      ['close', () => done(() => resolve(null))],
      ['error', (error) => done(() => reject(new AuthenticationError(refused, { cause: error })))],
    ];
    for (const [event, listener] of listeners) socket.on(event, listener);
    const forget = onAbort(signal, () => {
      done(() => reject(signal.reason as Error));
      socket.destroy();
    });
  });
  if (byte?.[0] === 1) return;
  socket.destroy();
  throw new AuthenticationError(refused);
}

function connected<S extends Socket>(socket: S, event: string, place: string, signal: AbortSignal): Promise<S> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      socket.destroy();
      reject(signal.reason as Error);
      return;
    }
    const done = (act: () => void): void => {
      socket.removeListener(event, onConnect);
      socket.removeListener('error', onError);
      forget();
      act();
    };
    const onConnect = (): void => done(() => resolve(socket));
    const onError = (error: Error): void => {
      done(() => reject(new ConnectionError(`cannot connect to ${place}: ${error.message}`, { cause: error })));
      socket.destroy();
    };
    socket.once(event, onConnect);
    socket.once('error', onError);
    const forget = onAbort(signal, () => {
      done(() => reject(signal.reason as Error));
      socket.destroy();
    });
  });
}
