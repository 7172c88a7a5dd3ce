import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../src/libvirt/errors.ts';
import { FrameReader, type FrameHeader } from '../../src/libvirt/frame-reader.ts';
import { CONTINUE, frame, OK, REPLY, STREAM } from '../support/fake-libvirtd.ts';

/** What a reader hands on, with the pieces of one stream message joined. */
function collect(): { readonly reader: FrameReader; readonly messages: () => [FrameHeader, Buffer][] } {
  const seen: [FrameHeader, Buffer][] = [];
  const reader = new FrameReader((header, payload) => seen.push([header, payload]));
  return {
    reader,
    messages: () => {
      const joined = new Map<FrameHeader, Buffer[]>();
      for (const [header, payload] of seen) joined.set(header, [...(joined.get(header) ?? []), payload]);
      return [...joined].map(([header, payloads]) => [header, Buffer.concat(payloads)]);
    },
  };
}

const message = fc.record({
  procedure: fc.nat(500),
  type: fc.constantFrom(REPLY, STREAM),
  serial: fc.nat(0xffff),
  status: fc.constantFrom(OK, CONTINUE),
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});

describe('the frame reader', () => {
  it('finds the same messages wherever the chunks begin and end', () => {
    const property = fc.property(
      fc.array(message, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 200 })),
      (messages, sizes) => {
        const bytes = Buffer.concat(messages.map(frame));
        const { reader, messages: seen } = collect();
        let at = 0;
        for (const size of sizes) {
          reader.push(bytes.subarray(at, at + size));
          at = Math.min(at + size, bytes.length);
        }
        reader.push(bytes.subarray(at));
        expect(seen().map(([header, payload]) => ({ ...header, payload }))).toEqual(
          messages.map((one) => ({ program: 0x20008086, version: 1, ...one })),
        );
      },
    );
    fc.assert(property, { numRuns: 500 });
  });

  it('takes bytes one by one', () => {
    const bytes = Buffer.concat([frame({ serial: 1, payload: Buffer.from('abcd') }), frame({ serial: 2 })]);
    const { reader, messages } = collect();
    for (const byte of bytes) reader.push(Buffer.of(byte));
    expect(messages().map(([{ serial }, payload]) => [serial, payload.toString()])).toEqual([
      [1, 'abcd'],
      [2, ''],
    ]);
  });

  it('takes a long message byte by byte without keeping a buffer for each', () => {
    const payload = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));
    const { reader, messages } = collect();
    for (const byte of frame({ payload })) reader.push(Buffer.of(byte));
    expect(messages()[0]?.[1].equals(payload)).toBe(true);
  });

  it('does not copy a message that is in one chunk', () => {
    const bytes = frame({ payload: Buffer.from('abcd') });
    const { reader, messages } = collect();
    const seen: Buffer[] = [];
    new FrameReader((_, payload) => seen.push(payload)).push(bytes);
    reader.push(bytes);
    expect(messages()).toHaveLength(1);
    expect(seen[0]?.buffer).toBe(bytes.buffer);
  });

  it('hands on the data of a stream before all of it is there, never empty pieces', () => {
    const bytes = frame({ type: STREAM, status: CONTINUE, serial: 7, payload: Buffer.alloc(10_000, 1) });
    const sizes: number[] = [];
    const reader = new FrameReader((_, payload) => sizes.push(payload.length));
    reader.push(bytes.subarray(0, 28));
    expect(sizes).toEqual([]);
    reader.push(bytes.subarray(28, 1028));
    expect(sizes).toEqual([1000]);
    reader.push(Buffer.concat([bytes.subarray(1028), frame({ type: STREAM, status: CONTINUE, serial: 7 })]));
    expect(sizes).toEqual([1000, 9000, 0]);
  });

  it('refuses a length that cannot be as soon as it is there', () => {
    for (const length of [0, 27, 33_554_437, 0xffff_ffff]) {
      const word = Buffer.alloc(4);
      word.writeUInt32BE(length);
      expect(() => new FrameReader(() => undefined).push(word)).toThrow(ProtocolError);
      const { reader } = collect();
      reader.push(word.subarray(0, 3));
      expect(() => {
        reader.push(word.subarray(3));
        reader.push(Buffer.alloc(24));
      }).toThrow(ProtocolError);
    }
  });

  it('holds no more than was sent, however much is announced', () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 100 }, () => {
      const reader = new FrameReader(() => undefined);
      const header = frame({});
      header.writeUInt32BE(33_554_436);
      reader.push(header);
      return reader;
    });
    expect(readers).toHaveLength(100);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
  });
});
