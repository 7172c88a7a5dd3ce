import { crc32 } from 'node:zlib';
import { FailedError } from '../../base/errors.ts';

/** A stored record does not have the bytes that were written: the disk or the file was damaged. */
export class CorruptStoreError extends FailedError {
  override readonly code = 'CorruptStore';
}

/** Bytes in front of a record's payload: its CRC-32. */
const headerBytes = 4;

/** A payload with its checksum in front, as it lies in the store. */
export function sealRecord(payload: Buffer): Buffer {
  const record = Buffer.allocUnsafe(headerBytes + payload.length);
  record.writeUInt32LE(crc32(payload), 0);
  payload.copy(record, headerBytes);
  return record;
}

/**
 * The payload of a sealed record, in memory of its own.
 *
 * @param what Names the record in the error.
 * @throws CorruptStoreError when the checksum does not fit.
 */
export function openRecord(record: Buffer, what: string): Buffer {
  if (record.length < headerBytes || record.readUInt32LE(0) !== crc32(record.subarray(headerBytes))) {
    throw new CorruptStoreError(`the stored record of ${what} is damaged`, {
      hint: 'restore the last backup with: virtctl standalone restore',
    });
  }
  return Buffer.from(record.subarray(headerBytes));
}
