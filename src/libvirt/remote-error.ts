import { LibvirtError } from './errors.ts';
import type { VirNetMessageError } from './protocol.gen.ts';
import { codecOf } from './xdr-codec.ts';
import { XdrReader } from './xdr-reader.ts';

/**
 * The error that a reply or a stream's packet carries.
 *
 * @param procedure The procedure that failed.
 * @throws ProtocolError where the data is none.
 */
export function readRemoteError(procedure: string, payload: Buffer): LibvirtError {
  const details = codecOf('VirNetMessageError').read(new XdrReader(payload)) as VirNetMessageError;
  return new LibvirtError(procedure, { ...details, message: details.message ?? 'libvirt gave no reason' });
}
