import { EncodeError } from '../errors.ts';

/** A UUID's 16 bytes as text, in lower case with dashes. */
export function uuidToString(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/**
 * A UUID's 16 bytes. Dashes may stand anywhere, as in libvirt (virUUIDParse).
 *
 * @throws EncodeError when it is not 32 hexadecimal digits.
 */
export function uuidToBytes(text: string): Uint8Array {
  const hex = text.replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/i.test(hex)) throw new EncodeError(`${JSON.stringify(text)} is not a UUID`);
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}
