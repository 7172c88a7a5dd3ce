import { UsageError } from '../base/errors.ts';

/** How the daemon is reached. */
export type Transport = 'unix' | 'tcp' | 'tls';

/** Which daemon of a host: libvirtd, the driver's own (virtqemud…), or whichever is there. */
export type DaemonMode = 'auto' | 'legacy' | 'direct';

/** A connection URI taken apart (https://libvirt.org/uri.html). */
export interface LibvirtUri {
  /** The driver: `qemu`, `test`, `network`, `storage`, `nodedev`, `secret`, `nwfilter`, `interface`. */
  readonly driver: string;
  readonly transport: Transport;
  /** Empty for this machine. */
  readonly host: string;
  readonly port: number | undefined;
  /** `/system`, `/session`, or a driver's own path, as `/default`. */
  readonly path: string;
  /** What the daemon is asked to open: the URI without transport, host and our parameters. */
  readonly name: string;
  readonly socket: string | undefined;
  readonly mode: DaemonMode;
  /** Folder of cacert.pem, clientcert.pem and clientkey.pem. */
  readonly pkiPath: string | undefined;
  /** Whether the server's certificate must be valid; `no_verify=1` says no. */
  readonly verify: boolean;
}

/** Parameters that say how to connect and are not the driver's. */
const ourParameters = [
  'socket',
  'name',
  'mode',
  'pkipath',
  'no_verify',
  'no_sanity',
  'no_tty',
  'tls_priority',
  'command',
];

/**
 * Takes a URI apart: `qemu:///system`, `qemu+tls://host/system`, `test:///default?socket=/path`.
 *
 * @throws UsageError naming what is wrong with it.
 */
export function parseUri(text: string): LibvirtUri {
  const match =
    /^([a-z][a-z0-9]*)(?:\+([a-z0-9]+))?:\/\/(\[[^\]]*\]|[^/:?#]*)(?::(\d+))?(\/[^?#]*)?(?:\?([^#]*))?$/i.exec(text);
  if (match === null) throw new UsageError(`${text} is not a libvirt URI`, { hint: 'write it as in qemu:///system' });
  const [, driver = '', transportWord, authority = '', port, path = '', query = ''] = match;
  if (authority.includes('@')) throw new UsageError(`${text}: a user has no meaning for this transport`);
  const host = authority.replace(/^\[|\]$/g, '');
  const parameters = new URLSearchParams(query);
  const transport = transportOf(text, transportWord, host);
  const mode = parameters.get('mode') ?? 'auto';
  if (mode !== 'auto' && mode !== 'legacy' && mode !== 'direct') {
    throw new UsageError(`${text}: mode must be auto, legacy or direct`);
  }
  const socket = parameters.get('socket') ?? undefined;
  if (socket !== undefined && transport !== 'unix') throw new UsageError(`${text}: socket needs the unix transport`);
  return {
    driver: driver.toLowerCase(),
    transport,
    host,
    port: port === undefined ? undefined : portOf(text, port),
    path,
    name: parameters.get('name') ?? nameOf(driver.toLowerCase(), path, parameters),
    socket,
    mode,
    pkiPath: parameters.get('pkipath') ?? undefined,
    verify: (parameters.get('no_verify') ?? '0') === '0',
  };
}

function transportOf(text: string, word: string | undefined, host: string): Transport {
  switch (word?.toLowerCase()) {
    // As libvirt: a URI with a host and no transport means TLS.
    case undefined:
      return host === '' ? 'unix' : 'tls';
    case 'unix':
      if (host !== '') throw new UsageError(`${text}: the unix transport has no host`);
      return 'unix';
    case 'tcp':
      return 'tcp';
    case 'tls':
      return 'tls';
    default:
      throw new UsageError(`${text}: the transport ${word ?? ''} is not supported`, { hint: 'use unix, tcp or tls' });
  }
}

function portOf(text: string, word: string): number {
  const port = Number(word);
  if (port < 1 || port > 65_535) throw new UsageError(`${text}: ${word} is not a port`);
  return port;
}

function nameOf(driver: string, path: string, parameters: URLSearchParams): string {
  const theirs = [...parameters].filter(([key]) => !ourParameters.includes(key));
  const query = theirs.length === 0 ? '' : `?${new URLSearchParams(theirs).toString()}`;
  return `${driver}://${path}${query}`;
}
