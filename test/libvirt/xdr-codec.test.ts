import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EncodeError, ProtocolError } from '../../src/libvirt/errors.ts';
import { limits, procedures, structures, type Procedures } from '../../src/libvirt/protocol.gen.ts';
import { typedParameters, typedParametersToObject } from '../../src/libvirt/typed-parameter.ts';
import { codecOf, type StructureName } from '../../src/libvirt/xdr-codec.ts';
import { XdrReader } from '../../src/libvirt/xdr-reader.ts';
import { XdrWriter } from '../../src/libvirt/xdr-writer.ts';
import { encode } from '../support/fake-libvirtd.ts';

const names = Object.keys(structures) as StructureName[];

function decode(name: StructureName, bytes: Buffer): unknown {
  return codecOf(name).read(new XdrReader(bytes));
}

/** Text that XDR strings of libvirt can hold, of at most `max` bytes. */
const text = (max: number): fc.Arbitrary<string> =>
  fc.string({ unit: 'binary', maxLength: Math.min(6, Math.floor(max / 4)) }).filter((value) => !value.includes('\0'));

const bytes = (minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength, maxLength });

const typedParameter = fc.oneof(
  ...(['int', 'uint', 'double', 'llong', 'ullong', 'boolean', 'string'] as const).map((type) =>
    fc.record({ field: text(80), type: fc.constant(type), value: scalar(type) }),
  ),
);

function scalar(type: string): fc.Arbitrary<unknown> {
  switch (type) {
    case 'int':
      return fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    case 'uint':
      return fc.integer({ min: 0, max: 2 ** 32 - 1 });
    case 'short':
      return fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 });
    case 'ushort':
      return fc.integer({ min: 0, max: 2 ** 16 - 1 });
    case 'char':
      return fc.integer({ min: -128, max: 127 });
    case 'uchar':
      return fc.integer({ min: 0, max: 255 });
    case 'hyper':
    case 'llong':
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case 'uhyper':
    case 'ullong':
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case 'double':
      return fc.double();
    case 'bool':
    case 'boolean':
      return fc.boolean();
    case 'string':
      return text(80);
    case 'TypedParameter':
      return typedParameter;
    default:
      return structure(type as StructureName);
  }
}

/** Values of a type as protocol.gen.ts writes it. */
function valueOf(type: string): fc.Arbitrary<unknown> {
  if (type.endsWith('?')) return fc.option(valueOf(type.slice(0, -1)), { nil: null });
  const [, base = '', bracket, size] = /^(.*?)(?:([<[])(\d+)[>\]])?$/.exec(type) ?? [];
  const max = Number(size);
  if (bracket === undefined) return scalar(base);
  if (base === 'string' || base === 'text') return text(max);
  if (base === 'opaque' || base === 'chars') return bracket === '[' ? bytes(max, max) : bytes(0, Math.min(max, 9));
  return fc.array(
    valueOf(base),
    bracket === '[' ? { minLength: max, maxLength: max } : { maxLength: Math.min(max, 3) },
  );
}

function structure(name: StructureName): fc.Arbitrary<unknown> {
  const members = structures[name].split(' ').filter((member) => member !== '');
  const model: Record<string, fc.Arbitrary<unknown>> = {};
  for (const member of members) {
    const [key = '', type = ''] = member.split(':');
    model[key] = valueOf(type);
  }
  return fc.record(model);
}

describe('the codecs', () => {
  it('read what they wrote, for every structure of the protocol', () => {
    expect(names.length).toBeGreaterThan(700);
    for (const name of names) {
      const property = fc.property(structure(name), (value) => {
        const encoded = encode(name, value);
        expect(encoded.length % 4).toBe(0);
        const reader = new XdrReader(encoded);
        expect(codecOf(name).read(reader)).toEqual(value);
        expect(reader.remaining).toBe(0);
      });
      fc.assert(property, { numRuns: 4 });
    }
  });

  it('refuse every shortened message without reading beyond it', () => {
    for (const name of names) {
      const property = fc.property(structure(name), fc.nat(), (value, cut) => {
        const encoded = encode(name, value);
        if (encoded.length === 0) return;
        expect(() => decode(name, encoded.subarray(0, cut % encoded.length))).toThrow(ProtocolError);
      });
      fc.assert(property, { numRuns: 2 });
    }
  });

  it('take random bytes for a value or refuse them, nothing else', () => {
    const property = fc.property(fc.constantFrom(...names), fc.uint8Array({ maxLength: 200 }), (name, random) => {
      try {
        decode(name, Buffer.from(random));
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    });
    fc.assert(property, { numRuns: 5000 });
  });

  it('write the bytes that RFC 4506 and remote_protocol.x say', () => {
    const dom = { name: 'web', uuid: Uint8Array.from({ length: 16 }, (_, at) => at), id: -1 };
    const expected = [
      '00000003 77656200', // "web", filled up to four bytes
      '00010203 04050607 08090a0b 0c0d0e0f', // the UUID
      'ffffffff', // no id
      '00000005', // flags
    ].join('');
    expect(encode('DomainGetXmlDescArgs', { dom, flags: 5 }).toString('hex')).toBe(expected.replaceAll(' ', ''));
  });

  it('write absent pointers as zero and keep 64 bits', () => {
    expect(encode('ConnectOpenArgs', { name: null, flags: 0 }).toString('hex')).toBe('0000000000000000');
    expect(encode('ConnectGetLibVersionRet', { libVer: 2n ** 64n - 1n }).toString('hex')).toBe('ffffffffffffffff');
  });

  it('widen each char of a char array to four bytes, ended or padded with NUL', () => {
    const info = { model: 'x86_64', memory: 1n, cpus: 1, mhz: 1, nodes: 1, sockets: 1, cores: 1, threads: 1 };
    const encoded = encode('NodeGetInfoRet', info);
    expect(encoded.length).toBe(32 * 4 + 8 + 6 * 4);
    expect(encoded.subarray(0, 8).toString('hex')).toBe('0000007800000038');
    expect(decode('NodeGetInfoRet', encoded)).toEqual(info);
  });
});

describe('limits', () => {
  const lookup = (bytesOfName: number) => (): Buffer =>
    encode('DomainLookupByNameArgs', { name: 'x'.repeat(bytesOfName) });

  it('hold when writing, counting bytes and not characters', () => {
    expect(lookup(limits.REMOTE_STRING_MAX)().length).toBe(limits.REMOTE_STRING_MAX + 4);
    expect(lookup(limits.REMOTE_STRING_MAX + 1)).toThrow(EncodeError);
    expect(() => encode('DomainLookupByNameArgs', { name: 'ü'.repeat(limits.REMOTE_STRING_MAX / 2 + 1) })).toThrow(
      EncodeError,
    );
    const codes = Array.from({ length: limits.REMOTE_DOMAIN_SEND_KEY_MAX + 1 }, () => 1);
    const dom = { name: 'x', uuid: new Uint8Array(16), id: 1 };
    const args = { dom, codeset: 0, holdtime: 0, keycodes: codes, flags: 0 };
    expect(() => encode('DomainSendKeyArgs', args)).toThrow(/keycodes: 17 elements are too many, at most 16/);
  });

  it('hold when reading, before anything is allocated', () => {
    for (const count of ['ffffffff', '00400001']) {
      expect(() => decode('ConnectGetHostnameRet', Buffer.from(count, 'hex'))).toThrow(/at most 4194304 allowed/);
      expect(() => decode('ConnectListAllDomainsRet', Buffer.from(count, 'hex'))).toThrow(/at most 16384 allowed/);
    }
    // Within the limit, but more than the message can hold.
    const before = process.memoryUsage().arrayBuffers;
    expect(() => decode('ConnectGetHostnameRet', Buffer.from('00400000', 'hex'))).toThrow(/0 bytes left/);
    expect(() => decode('ConnectListAllDomainsRet', Buffer.from('00004000', 'hex'))).toThrow(/0 bytes left/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
  });

  it('name the member that cannot be written', () => {
    const uuid = new Uint8Array(16);
    const wrong: [unknown, RegExp][] = [
      [{ dom: { name: 'a\0b', uuid, id: 1 }, flags: 0 }, /dom: name: .*NUL/],
      [{ dom: { name: 'a\ud800', uuid, id: 1 }, flags: 0 }, /dom: name: .*Unicode/],
      [{ dom: { name: 'a', uuid: new Uint8Array(15), id: 1 }, flags: 0 }, /dom: uuid: expected 16 bytes, got 15/],
      [{ dom: { name: 'a', uuid, id: 2 ** 31 }, flags: 0 }, /dom: id: expected an integer/],
      [{ dom: { name: 'a', uuid, id: 1 }, flags: -1 }, /flags: expected an integer from 0/],
      [{ dom: { name: 'a', uuid, id: 1 } }, /flags: .*undefined/],
      [{ dom: null, flags: 0 }, /dom: NonnullDomain: expected an object/],
      [undefined, /expected an object/],
    ];
    for (const [value, message] of wrong) {
      expect(() => encode('DomainGetXmlDescArgs', value)).toThrow(EncodeError);
      expect(() => encode('DomainGetXmlDescArgs', value)).toThrow(message);
    }
    expect(() => encode('ConnectGetLibVersionRet', { libVer: 1 })).toThrow(/libVer: expected a bigint/);
  });
});

describe('the writer', () => {
  it('keeps committed messages in order and forgets the others, whatever their sizes', () => {
    const message = fc.record({ size: fc.nat(200_000), keep: fc.boolean(), take: fc.boolean() });
    const property = fc.property(fc.array(message, { maxLength: 12 }), (messages) => {
      const writer = new XdrWriter(1 << 22);
      const expected: Buffer[] = [];
      const taken: Buffer[] = [];
      for (const [index, { size, keep, take }] of messages.entries()) {
        const data = Buffer.alloc(size, index + 1);
        writer.begin();
        writer.uint(0);
        writer.unpadded(data);
        if (keep) {
          writer.commit(index);
          expected.push(Buffer.of(0, 0, 0, index), data);
        } else {
          writer.rollback();
        }
        if (take) taken.push(...writer.take());
      }
      taken.push(...writer.take());
      expect(Buffer.concat(taken).equals(Buffer.concat(expected))).toBe(true);
    });
    fc.assert(property, { numRuns: 100 });
  });

  it('refuses a message over its limit', () => {
    const writer = new XdrWriter(1000);
    writer.begin();
    expect(() => writer.unpadded(new Uint8Array(1001))).toThrow(/at most 1000 bytes/);
  });
});

describe('procedures', () => {
  it('have distinct numbers and name structures that exist', () => {
    const numbers = new Set<string>();
    for (const name of Object.keys(procedures) as (keyof Procedures)[]) {
      const [program, number, args, ret] = procedures[name];
      expect(numbers.has(`${program} ${number}`)).toBe(false);
      numbers.add(`${program} ${number}`);
      for (const structureName of [args, ret])
        if (structureName !== null) expect(structures).toHaveProperty(structureName);
    }
    expect(numbers.size).toBeGreaterThan(390);
    expect(procedures.domainGetXmlDesc).toEqual(['remote', 14, 'DomainGetXmlDescArgs', 'DomainGetXmlDescRet']);
    expect(procedures.storageVolUpload).toEqual(['remote', 208, 'StorageVolUploadArgs', null, 'write']);
    expect(procedures.qemuDomainAgentCommand[0]).toBe('qemu');
  });
});

describe('typed parameters', () => {
  it('are made from plain values, with the types that are named', () => {
    const made = typedParameters(
      { a: 'x', b: true, c: 5n, d: 1, e: 7, skip: undefined, m: ['vda', 'vdb'] },
      { e: 'ullong' },
    );
    expect(made).toEqual([
      { field: 'a', type: 'string', value: 'x' },
      { field: 'b', type: 'boolean', value: true },
      { field: 'c', type: 'ullong', value: 5n },
      { field: 'd', type: 'int', value: 1 },
      { field: 'e', type: 'ullong', value: 7n },
      { field: 'm', type: 'string', value: 'vda' },
      { field: 'm', type: 'string', value: 'vdb' },
    ]);
    expect(typedParametersToObject(made)).toEqual({ a: 'x', b: true, c: 5n, d: 1, e: 7n, m: 'vdb' });
  });

  it('are refused with a type that libvirt does not know', () => {
    const bad = Buffer.concat([
      encode('ConnectGetHostnameRet', { hostname: 'f' }),
      Buffer.from('0000000800000001', 'hex'),
    ]);
    const list = Buffer.concat([Buffer.from('00000001', 'hex'), bad]);
    expect(() => decode('DomainGetLaunchSecurityInfoRet', list)).toThrow(/8 is not a type/);
  });
});
