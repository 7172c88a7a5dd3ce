import { ProtocolError } from './errors.ts';

/**
 * Reads XDR (RFC 4506) from a buffer that belongs to somebody else: what it returns are copies. Every length is
 * checked against its limit and against what is left before anything is allocated.
 */
export class XdrReader {
  readonly #buffer: Buffer;
  #at: number;

  constructor(buffer: Buffer, at = 0) {
    this.#buffer = buffer;
    this.#at = at;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#buffer.length - this.#at;
  }

  int(): number {
    return this.#buffer.readInt32BE(this.#take(4));
  }

  uint(): number {
    return this.#buffer.readUInt32BE(this.#take(4));
  }

  hyper(): bigint {
    return this.#buffer.readBigInt64BE(this.#take(8));
  }

  uhyper(): bigint {
    return this.#buffer.readBigUInt64BE(this.#take(8));
  }

  double(): number {
    return this.#buffer.readDoubleBE(this.#take(8));
  }

  /** A boolean: 0 or 1, nothing else. */
  bool(): boolean {
    const value = this.uint();
    if (value > 1) throw new ProtocolError(`malformed message: ${value} is not a boolean`);
    return value === 1;
  }

  /** A string of at most `limit` bytes of UTF-8. */
  string(limit: number): string {
    const length = this.count(limit, 1);
    const at = this.#take(padded(length));
    return this.#buffer.toString('utf8', at, at + length);
  }

  /** Opaque data of exactly `length` bytes. */
  fixedOpaque(length: number): Uint8Array {
    const at = this.#take(padded(length));
    const bytes = new Uint8Array(length);
    bytes.set(this.#buffer.subarray(at, at + length));
    return bytes;
  }

  /** Opaque data of at most `limit` bytes. */
  opaque(limit: number): Uint8Array {
    return this.fixedOpaque(this.count(limit, 1));
  }

  /** The count of a list: at most `limit`, and no more than what is left can hold at `elementBytes` each. */
  count(limit: number, elementBytes: number): number {
    const count = this.uint();
    if (count > limit)
      throw new ProtocolError(`malformed message: ${count} elements or bytes, at most ${limit} allowed`);
    if (count * elementBytes > this.remaining) {
      throw new ProtocolError(`malformed message: ${count} elements or bytes announced, ${this.remaining} bytes left`);
    }
    return count;
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.#buffer.length - at) {
      throw new ProtocolError(`malformed message: ${length} bytes expected, ${this.remaining} left`);
    }
    this.#at = at + length;
    return at;
  }
}

/** XDR fills everything up to four bytes. */
export function padded(length: number): number {
  return (length + 3) & ~3;
}
