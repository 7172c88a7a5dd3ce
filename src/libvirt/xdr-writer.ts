import { EncodeError } from './errors.ts';
import { padded } from './xdr-reader.ts';

/** Half of a surrogate pair: it would reach libvirt as another character. */
const loneSurrogate = /\p{Surrogate}/u;

/** Messages are written one behind the other into slabs of this size, so that a burst of calls is one write. */
const slabBytes = 65_536;

/**
 * Writes XDR (RFC 4506) messages one behind the other. {@link begin} opens a message; {@link commit} keeps it,
 * {@link rollback} forgets it; {@link take} hands over all that were kept. What was handed over is not touched again.
 */
export class XdrWriter {
  /** No message may be longer, in bytes. */
  readonly #limit: number;
  #slab: Buffer = Buffer.allocUnsafeSlow(0);
  #at = 0;
  /** Where the open message begins. */
  #start = 0;
  /** Where the first message that was not taken yet begins. */
  #untaken = 0;
  #ready: Buffer[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Opens a message. */
  begin(): void {
    this.#start = this.#at;
  }

  /** Bytes of the open message so far. */
  get length(): number {
    return this.#at - this.#start;
  }

  /** Ends the open message; puts `word` over its first four bytes. */
  commit(word: number): void {
    this.#slab.writeUInt32BE(word, this.#start);
  }

  /** Forgets the open message. */
  rollback(): void {
    this.#at = this.#start;
  }

  /** All messages since the last time, in order. */
  take(): Buffer[] {
    const taken = this.#ready;
    if (this.#at > this.#untaken) taken.push(this.#slab.subarray(this.#untaken, this.#at));
    this.#untaken = this.#at;
    this.#ready = [];
    return taken;
  }

  int(value: unknown): void {
    const number = integer(value, -0x8000_0000, 0x7fff_ffff);
    const at = this.#reserve(4);
    this.#slab.writeInt32BE(number, at);
  }

  uint(value: unknown): void {
    const number = integer(value, 0, 0xffff_ffff);
    const at = this.#reserve(4);
    this.#slab.writeUInt32BE(number, at);
  }

  /** A small integer, which the wire widens to four bytes. */
  small(value: unknown, minimum: number, maximum: number): void {
    this.int(integer(value, minimum, maximum));
  }

  hyper(value: unknown): void {
    const number = bigInteger(value, -0x8000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn);
    const at = this.#reserve(8);
    this.#slab.writeBigInt64BE(number, at);
  }

  uhyper(value: unknown): void {
    const number = bigInteger(value, 0n, 0xffff_ffff_ffff_ffffn);
    const at = this.#reserve(8);
    this.#slab.writeBigUInt64BE(number, at);
  }

  double(value: unknown): void {
    if (typeof value !== 'number') throw new EncodeError(`expected a number, got ${typeof value}`);
    const at = this.#reserve(8);
    this.#slab.writeDoubleBE(value, at);
  }

  bool(value: unknown): void {
    if (typeof value !== 'boolean') throw new EncodeError(`expected a boolean, got ${typeof value}`);
    this.uint(value ? 1 : 0);
  }

  /** A string of at most `limit` bytes of UTF-8, without NUL: libvirt would silently stop there. */
  string(value: unknown, limit: number): void {
    if (typeof value !== 'string')
      throw new EncodeError(`expected a string, got ${value === null ? 'null' : typeof value}`);
    if (value.includes('\0')) throw new EncodeError('a string must not hold a NUL character');
    if (loneSurrogate.test(value)) throw new EncodeError('a string must be well-formed Unicode');
    const length = Buffer.byteLength(value);
    if (length > limit) throw new EncodeError(`a string of ${length} bytes is too long, at most ${limit} allowed`);
    const at = this.#reserve(4 + padded(length));
    this.#slab.writeUInt32BE(length, at);
    this.#slab.write(value, at + 4, length, 'utf8');
    this.#pad(at + 4 + length);
  }

  /** Opaque data of at most `limit` bytes. */
  opaque(value: unknown, limit: number): void {
    const bytes = uint8Array(value);
    if (bytes.length > limit) throw new EncodeError(`${bytes.length} bytes are too many, at most ${limit} allowed`);
    this.uint(bytes.length);
    this.raw(bytes);
  }

  /** Opaque data of exactly `length` bytes. */
  fixedOpaque(value: unknown, length: number): void {
    const bytes = uint8Array(value);
    if (bytes.length !== length) throw new EncodeError(`expected ${length} bytes, got ${bytes.length}`);
    this.raw(bytes);
  }

  /** The count of a list of at most `limit` elements. */
  count(count: number, limit: number): void {
    if (count > limit) throw new EncodeError(`${count} elements are too many, at most ${limit} allowed`);
    this.uint(count);
  }

  /** Bytes as they are, filled up to four. */
  raw(bytes: Uint8Array): void {
    const at = this.#reserve(padded(bytes.length));
    this.#slab.set(bytes, at);
    this.#pad(at + bytes.length);
  }

  /** Bytes as they are, not filled up: the data of a stream. */
  unpadded(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#slab.set(bytes, at);
  }

  #pad(from: number): void {
    for (let at = from; at < this.#at; at += 1) this.#slab[at] = 0;
  }

  #reserve(length: number): number {
    const at = this.#at;
    const needed = at - this.#start + length;
    if (needed > this.#limit) throw new EncodeError(`the message is too long, at most ${this.#limit} bytes allowed`);
    if (at + length <= this.#slab.length) {
      this.#at = at + length;
      return at;
    }
    // Doubling keeps the copying linear in the length of the message; a single large piece (a document, a stream's data)
    // is most of its message, and gets what it needs.
    const bytes = length > slabBytes ? needed : needed * 2;
    const slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, bytes));
    this.#slab.copy(slab, 0, this.#start, at);
    if (this.#start > this.#untaken) this.#ready.push(this.#slab.subarray(this.#untaken, this.#start));
    this.#slab = slab;
    this.#start = 0;
    this.#untaken = 0;
    this.#at = needed;
    return needed - length;
  }
}

function integer(value: unknown, minimum: number, maximum: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < minimum || value > maximum) {
    throw new EncodeError(`expected an integer from ${minimum} to ${maximum}, got ${describe(value)}`);
  }
  return value;
}

function bigInteger(value: unknown, minimum: bigint, maximum: bigint): bigint {
  if (typeof value !== 'bigint' || value < minimum || value > maximum) {
    throw new EncodeError(`expected a bigint from ${String(minimum)} to ${String(maximum)}, got ${describe(value)}`);
  }
  return value;
}

function uint8Array(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new EncodeError(`expected a Uint8Array, got ${typeof value}`);
  return value;
}

function describe(value: unknown): string {
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : typeof value;
}
