import { withDeadline } from '../base/abort.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import { AuthenticationError, LibvirtError } from './errors.ts';
import { defaultKeepalive, type KeepalivePolicy } from './keepalive.ts';
import { AuthType } from './protocol.gen.ts';
import { openTransport, type TransportOptions } from './transport.ts';
import { parseUri } from './uri.ts';

/** How {@link connect} connects. */
export interface ConnectOptions extends ConnectionOptions, TransportOptions {
  /** Until the connection can be used, in milliseconds. Ten seconds. */
  readonly connectTimeoutMs?: number | undefined;
  /** How a dead daemon is noticed; false for not at all. Every 5 s, dead after 5. */
  readonly keepalive?: KeepalivePolicy | false | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Features of a driver (virDrvFeature in libvirt's sources), as REMOTE_PROC_CONNECT_SUPPORTS_FEATURE asks for them. */
export const DriverFeature = {
  MIGRATION_P2P: 4,
  FD_PASSING: 8,
  TYPED_PARAM_STRING: 9,
  PROGRAM_KEEPALIVE: 10,
  XML_MIGRATABLE: 11,
  MIGRATION_OFFLINE: 12,
  MIGRATION_PARAMS: 13,
  REMOTE_CLOSE_CALLBACK: 14,
  REMOTE_EVENT_CALLBACK: 15,
} as const;

const readOnlyFlag = 1;

/**
 * Connects to a libvirt daemon, authenticates and opens the URI's driver.
 *
 * @param uri As libvirt has them: `qemu:///system`, `qemu:///session`, `test:///default`, `qemu+tls://host/system`,
 *   `network:///system` (a split daemon); with `?socket=`, `?mode=`, `?pkipath=`, `?no_verify=1`, `?name=`.
 * @throws UsageError for the URI; ConnectionError where nobody listens; AuthenticationError; LibvirtError where the
 *   driver does not open; TimedOutError; the signal's reason.
 */
export async function connect(uri: string, options: ConnectOptions = {}): Promise<Connection> {
  const parsed = parseUri(uri);
  const { signal, connectTimeoutMs = 10_000, keepalive = defaultKeepalive } = options;
  return withDeadline(`connect to ${uri}`, connectTimeoutMs, signal, async (inner) => {
    const connection = new Connection(await openTransport(parsed, options, inner), options);
    try {
      const call = { signal: inner, timeoutMs: Infinity };
      await authenticate(connection, call);
      // Asking is also how the daemon learns that it may ping us.
      const feature = { feature: DriverFeature.PROGRAM_KEEPALIVE };
      if (keepalive !== false && (await supports(connection, feature, call))) connection.startKeepalive(keepalive);
      await connection.call(
        'connectOpen',
        { name: parsed.name, flags: options.readOnly === true ? readOnlyFlag : 0 },
        call,
      );
    } catch (error) {
      connection.destroy();
      inner.throwIfAborted();
      throw error;
    }
    const { signal: _signal, ...rest } = options;
    connection.setDuplicate((again) => connect(uri, { ...rest, signal: again }));
    return connection;
  });
}

interface Call {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

async function supports(connection: Connection, feature: { feature: number }, call: Call): Promise<boolean> {
  const { supported } = await connection.call('connectSupportsFeature', feature, call);
  return supported === 1;
}

async function authenticate(connection: Connection, call: Call): Promise<void> {
  const { types } = await connection.call('authList', undefined, call);
  const [type] = types;
  switch (type) {
    case undefined:
    case AuthType.REMOTE_AUTH_NONE:
      return;
    case AuthType.REMOTE_AUTH_POLKIT:
      try {
        await connection.call('authPolkit', undefined, call);
        return;
      } catch (error) {
        if (!(error instanceof LibvirtError)) throw error;
        throw new AuthenticationError(error.message, { cause: error, hint: 'join the group libvirt, or run as root' });
      }
    default:
      throw new AuthenticationError('the libvirt daemon asks for SASL authentication, which is not supported', {
        hint: 'use its unix socket, or TLS with client certificates',
      });
  }
}
