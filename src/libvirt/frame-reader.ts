import { ProtocolError } from './errors.ts';
import { limits, VirNetMessageStatus, VirNetMessageType } from './protocol.gen.ts';

/** The header of a message (virNetMessageHeader). */
export interface FrameHeader {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  /** VirNetMessageType, or what a peer made up. */
  readonly type: number;
  readonly serial: number;
  /** VirNetMessageStatus, or what a peer made up. */
  readonly status: number;
}

/** Bytes of the length word and of the header behind it. */
const lengthBytes = limits.VIR_NET_MESSAGE_LEN_MAX;
const prefixBytes = lengthBytes + limits.VIR_NET_MESSAGE_HEADER_MAX;
/** So many chunks of one message are joined: a peer that sends bytes one by one would cost a buffer for each. */
const maxParts = 4096;

/**
 * Cuts a byte stream into messages, wherever chunks begin and end. A message within one chunk is not copied, one
 * across chunks is joined once. The data of a stream is handed on as it comes, in pieces, and never joined.
 *
 * Memory is bounded by the longest message the protocol allows, and is only ever as much as the peer really sent.
 */
export class FrameReader {
  readonly #onFrame: (header: FrameHeader, payload: Buffer) => void;
  /** Chunks of the message that is not complete yet. */
  #parts: Buffer[] = [];
  /** How many of {@link #parts} are joined ones. */
  #joined = 0;
  #held = 0;
  /** Bytes that {@link #parts} must reach before it is worth looking at again. */
  #wanted = prefixBytes;
  /** The message whose data is being handed on in pieces, and how much of it is missing. */
  #passing: FrameHeader | undefined;
  #passingLeft = 0;

  /**
   * @param onFrame Takes a message; for the data of a stream one or more pieces of it, none of them empty unless the
   *   message's payload is. The payload belongs to the receiver.
   */
  constructor(onFrame: (header: FrameHeader, payload: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  /**
   * Takes the next bytes of the connection.
   *
   * @throws ProtocolError where a message's length cannot be. Nothing can be read after it.
   */
  push(chunk: Buffer): void {
    let rest = this.#pass(chunk);
    while (rest.length > 0) {
      if (this.#held > 0) {
        if (this.#held + rest.length < this.#wanted) {
          this.#hold(rest);
          return;
        }
        const missing = this.#wanted - this.#held;
        this.#hold(rest.subarray(0, missing));
        rest = rest.subarray(missing);
        const joined = Buffer.concat(this.#parts, this.#held);
        this.#forget();
        const left = this.#frame(joined);
        if (left > 0) this.#hold(joined);
        rest = this.#pass(rest);
      } else {
        const left = this.#frame(rest);
        if (left === 0) return;
        if (left === rest.length) {
          this.#hold(rest);
          return;
        }
        rest = rest.subarray(rest.length - left);
      }
    }
  }

  /** Takes one message, or what there is of it, from the front. Returns how many bytes it left. */
  #frame(bytes: Buffer): number {
    if (bytes.length < prefixBytes) {
      if (bytes.length >= lengthBytes) checkedLength(bytes);
      this.#wanted = prefixBytes;
      return bytes.length;
    }
    const length = checkedLength(bytes);
    const header: FrameHeader = {
      program: bytes.readUInt32BE(4),
      version: bytes.readUInt32BE(8),
      procedure: bytes.readUInt32BE(12),
      type: bytes.readUInt32BE(16),
      serial: bytes.readUInt32BE(20),
      status: bytes.readUInt32BE(24),
    };
    if (bytes.length >= length) {
      this.#onFrame(header, bytes.subarray(prefixBytes, length));
      return bytes.length - length;
    }
    if (header.type === VirNetMessageType.VIR_NET_STREAM && header.status === VirNetMessageStatus.VIR_NET_CONTINUE) {
      this.#passing = header;
      this.#passingLeft = length - bytes.length;
      if (bytes.length > prefixBytes) this.#onFrame(header, bytes.subarray(prefixBytes));
      return 0;
    }
    this.#wanted = length;
    return bytes.length;
  }

  /** Hands on what belongs to the data being passed; returns the rest. */
  #pass(chunk: Buffer): Buffer {
    const header = this.#passing;
    if (header === undefined || chunk.length === 0) return chunk;
    const count = Math.min(chunk.length, this.#passingLeft);
    this.#passingLeft -= count;
    if (this.#passingLeft === 0) this.#passing = undefined;
    this.#onFrame(header, chunk.subarray(0, count));
    return chunk.subarray(count);
  }

  #hold(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#held += bytes.length;
    if (this.#parts.length - this.#joined < maxParts) return;
    this.#parts.push(Buffer.concat(this.#parts.splice(this.#joined)));
    this.#joined += 1;
  }

  #forget(): void {
    this.#parts = [];
    this.#joined = 0;
    this.#held = 0;
  }
}

function checkedLength(bytes: Buffer): number {
  const length = bytes.readUInt32BE(0);
  if (length < prefixBytes || length > limits.VIR_NET_MESSAGE_MAX + lengthBytes) {
    throw new ProtocolError(`malformed message: a length of ${length} bytes`);
  }
  return length;
}
