/**
 * Codecs of the protocol's structures, made on first use from the tables of protocol.gen.ts. A structure is written
 * `name:type name:type…`; a type is
 *
 *     int uint hyper uhyper short ushort char uchar double bool      scalars (hyper and uhyper are bigint)
 *     string<max>  text<max>  text[n]                                strings; text is an array of char
 *     opaque<max>  opaque[n]  chars<max>                             Uint8Array; chars is an array of char
 *     TypedParameter, or another structure's name
 *     …?  …<max>  …[n]                                               null allowed, list, list of fixed length
 */
import { EncodeError, ProtocolError } from './errors.ts';
import { limits, structures } from './protocol.gen.ts';
import { typedParameterTypes, type TypedParameter } from './typed-parameter.ts';
import type { XdrReader } from './xdr-reader.ts';
import type { XdrWriter } from './xdr-writer.ts';

/** Reads and writes one type. */
export interface Codec {
  /** No value takes fewer bytes: bounds the length of a list before it is allocated. */
  readonly minimumBytes: number;
  /** @throws ProtocolError where the data is not of this type. */
  readonly read: (reader: XdrReader) => unknown;
  /** @throws EncodeError where the value is not of this type. */
  readonly write: (writer: XdrWriter, value: unknown) => void;
}

/** A structure of the protocol. */
export type StructureName = keyof typeof structures;

const codecs = new Map<string, Codec>();

/** The codec of a structure. */
export function codecOf(name: StructureName): Codec {
  return structureCodec(name);
}

function structureCodec(name: string): Codec {
  let codec = codecs.get(name);
  if (codec === undefined) {
    codec = makeStructure(name, structures[name as StructureName]);
    codecs.set(name, codec);
  }
  return codec;
}

const scalars: Readonly<Record<string, Codec>> = {
  int: { minimumBytes: 4, read: (reader) => reader.int(), write: (writer, value) => writer.int(value) },
  uint: { minimumBytes: 4, read: (reader) => reader.uint(), write: (writer, value) => writer.uint(value) },
  hyper: { minimumBytes: 8, read: (reader) => reader.hyper(), write: (writer, value) => writer.hyper(value) },
  uhyper: { minimumBytes: 8, read: (reader) => reader.uhyper(), write: (writer, value) => writer.uhyper(value) },
  double: { minimumBytes: 8, read: (reader) => reader.double(), write: (writer, value) => writer.double(value) },
  bool: { minimumBytes: 4, read: (reader) => reader.bool(), write: (writer, value) => writer.bool(value) },
  short: small(-0x8000, 0x7fff),
  ushort: small(0, 0xffff),
  char: small(-0x80, 0x7f),
  uchar: small(0, 0xff),
  TypedParameter: { minimumBytes: 12, read: readTypedParameter, write: writeTypedParameter },
};

function small(minimum: number, maximum: number): Codec {
  return {
    minimumBytes: 4,
    read: (reader) => {
      const value = reader.int();
      if (value < minimum || value > maximum) throw new ProtocolError(`malformed message: ${value} is out of range`);
      return value;
    },
    write: (writer, value) => writer.small(value, minimum, maximum),
  };
}

function makeStructure(name: string, text: string): Codec {
  const members = text === '' ? [] : text.split(' ').map((member) => member.split(':') as [string, string]);
  const names = members.map(([member]) => member);
  const types = members.map(([, type]) => typeCodec(type));
  return {
    minimumBytes: types.reduce((sum, { minimumBytes }) => sum + minimumBytes, 0),
    read: (reader) => {
      const value: Record<string, unknown> = {};
      for (let at = 0; at < names.length; at += 1) value[names[at] as string] = (types[at] as Codec).read(reader);
      return value;
    },
    write: (writer, value) => {
      if (typeof value !== 'object' || value === null) throw new EncodeError(`${name}: expected an object`);
      for (let at = 0; at < names.length; at += 1) {
        const member = names[at] as string;
        try {
          (types[at] as Codec).write(writer, (value as Record<string, unknown>)[member]);
        } catch (error) {
          if (error instanceof EncodeError) throw new EncodeError(`${member}: ${error.message}`, { cause: error });
          throw error;
        }
      }
    },
  };
}

function typeCodec(text: string): Codec {
  const match = /^(\w+)((?:\?|<\d+>|\[\d+\])*)$/.exec(text);
  let suffixes: readonly string[] = match?.[2]?.match(/\?|<\d+>|\[\d+\]/g) ?? [];
  const base = match?.[1] ?? '';
  let codec = scalars[base];
  if (codec === undefined && ['string', 'opaque', 'text', 'chars'].includes(base)) {
    codec = bytesCodec(base, suffixes[0] ?? '');
    suffixes = suffixes.slice(1);
  }
  codec ??= structureCodec(base);
  for (const suffix of suffixes) {
    const size = Number(suffix.slice(1, -1));
    codec = suffix === '?' ? optional(codec) : suffix.startsWith('[') ? fixedList(codec, size) : list(codec, size);
  }
  return codec;
}

function bytesCodec(base: string, suffix: string): Codec {
  const size = Number(suffix.slice(1, -1));
  const fixed = suffix.startsWith('[');
  switch (base) {
    case 'string':
      return {
        minimumBytes: 4,
        read: (reader) => reader.string(size),
        write: (writer, value) => writer.string(value, size),
      };
    case 'opaque':
      return fixed
        ? {
            minimumBytes: size,
            read: (reader) => reader.fixedOpaque(size),
            write: (writer, value) => writer.fixedOpaque(value, size),
          }
        : {
            minimumBytes: 4,
            read: (reader) => reader.opaque(size),
            write: (writer, value) => writer.opaque(value, size),
          };
    case 'chars':
      return { minimumBytes: 4, read: (reader) => readChars(reader, reader.count(size, 4)), write: writeChars(size) };
    default:
      return {
        minimumBytes: fixed ? size * 4 : 4,
        read: (reader) => readText(reader, fixed ? size : reader.count(size, 4)),
        write: writeText(size, fixed),
      };
  }
}

function optional(codec: Codec): Codec {
  return {
    minimumBytes: 4,
    read: (reader) => (reader.bool() ? codec.read(reader) : null),
    write: (writer, value) => {
      const present = value !== null && value !== undefined;
      writer.bool(present);
      if (present) codec.write(writer, value);
    },
  };
}

function list(codec: Codec, limit: number): Codec {
  return {
    minimumBytes: 4,
    read: (reader) => readList(reader, codec, reader.count(limit, codec.minimumBytes)),
    write: (writer, value) => {
      const values = asList(value);
      writer.count(values.length, limit);
      for (const one of values) codec.write(writer, one);
    },
  };
}

function fixedList(codec: Codec, length: number): Codec {
  return {
    minimumBytes: codec.minimumBytes * length,
    read: (reader) => readList(reader, codec, length),
    write: (writer, value) => {
      const values = asList(value);
      if (values.length !== length) throw new EncodeError(`expected ${length} elements, got ${values.length}`);
      for (const one of values) codec.write(writer, one);
    },
  };
}

function readList(reader: XdrReader, codec: Codec, count: number): unknown[] {
  const values: unknown[] = [];
  for (let left = count; left > 0; left -= 1) values.push(codec.read(reader));
  return values;
}

function asList(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new EncodeError(`expected a list, got ${typeof value}`);
  return value;
}

/** The wire widens each char of an array to four bytes. */
function readChars(reader: XdrReader, count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count; at += 1) bytes[at] = reader.int();
  return bytes;
}

function writeChars(limit: number): Codec['write'] {
  return (writer, value) => {
    if (!(value instanceof Uint8Array)) throw new EncodeError(`expected a Uint8Array, got ${typeof value}`);
    writer.count(value.length, limit);
    for (const byte of value) writer.int((byte << 24) >> 24);
  };
}

function readText(reader: XdrReader, count: number): string {
  const bytes = readChars(reader, count);
  const end = bytes.indexOf(0);
  return Buffer.from(bytes.buffer, 0, end < 0 ? count : end).toString();
}

function writeText(size: number, fixed: boolean): Codec['write'] {
  return (writer, value) => {
    if (typeof value !== 'string') throw new EncodeError(`expected a string, got ${typeof value}`);
    if (value.includes('\0')) throw new EncodeError('a string must not hold a NUL character');
    const bytes = Buffer.from(value);
    if (bytes.length > size)
      throw new EncodeError(`a string of ${bytes.length} bytes is too long, at most ${size} allowed`);
    if (!fixed) writer.count(bytes.length, size);
    for (const byte of bytes) writer.int((byte << 24) >> 24);
    if (fixed) for (let at = bytes.length; at < size; at += 1) writer.int(0);
  };
}

function readTypedParameter(reader: XdrReader): TypedParameter {
  const field = reader.string(limits.REMOTE_STRING_MAX);
  const number = reader.int();
  switch (number) {
    case 1:
      return { field, type: 'int', value: reader.int() };
    case 2:
      return { field, type: 'uint', value: reader.uint() };
    case 3:
      return { field, type: 'llong', value: reader.hyper() };
    case 4:
      return { field, type: 'ullong', value: reader.uhyper() };
    case 5:
      return { field, type: 'double', value: reader.double() };
    case 6:
      return { field, type: 'boolean', value: reader.int() !== 0 };
    case 7:
      return { field, type: 'string', value: reader.string(limits.REMOTE_STRING_MAX) };
    default:
      throw new ProtocolError(`malformed message: ${number} is not a type of a typed parameter`);
  }
}

function writeTypedParameter(writer: XdrWriter, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw new EncodeError('expected a typed parameter');
  const parameter = value as TypedParameter;
  const number = typedParameterTypes.indexOf(parameter.type);
  if (number < 1) throw new EncodeError(`${parameter.type} is not a type of a typed parameter`);
  writer.string(parameter.field, limits.REMOTE_STRING_MAX);
  writer.int(number);
  switch (parameter.type) {
    case 'int': {
      writer.int(parameter.value);
      return;
    }
    case 'uint': {
      writer.uint(parameter.value);
      return;
    }
    case 'llong': {
      writer.hyper(parameter.value);
      return;
    }
    case 'ullong': {
      writer.uhyper(parameter.value);
      return;
    }
    case 'double': {
      writer.double(parameter.value);
      return;
    }
    case 'boolean': {
      writer.bool(parameter.value);
      return;
    }
    case 'string': {
      writer.string(parameter.value, limits.REMOTE_STRING_MAX);
      return;
    }
  }
}
