/**
 * Decodes Kubernetes' protocol buffers (application/vnd.kubernetes.protobuf) of the few built-in kinds that kubectl
 * from 1.31 on sends in no other form: `kubectl create namespace`, `create secret` and the like. Answers are JSON,
 * which the same clients take. Field numbers: generated.proto of k8s.io/api and k8s.io/apimachinery.
 */
import { textOf } from '../schema/json-schema.ts';
import { badRequest, unsupportedMediaType } from './api-error.ts';
import type { JsonObject } from '../schema/json-schema.ts';

export const protobufType = 'application/vnd.kubernetes.protobuf';

type FieldType =
  'string' | 'bytes' | 'integer' | 'boolean' | 'time' | 'micro-time' | 'string-map' | 'bytes-map' | Message;
interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly list?: boolean;
}
interface Message {
  readonly [number: number]: Field;
}

const text = (name: string): Field => ({ name, type: 'string' });
const of = (name: string, type: FieldType): Field => ({ name, type });
const listOf = (name: string, type: FieldType): Field => ({ name, type, list: true });

const ownerReference: Message = {
  1: text('kind'),
  3: text('name'),
  4: text('uid'),
  5: text('apiVersion'),
  6: of('controller', 'boolean'),
  7: of('blockOwnerDeletion', 'boolean'),
};
const objectMeta: Message = {
  1: text('name'),
  2: text('generateName'),
  3: text('namespace'),
  5: text('uid'),
  6: text('resourceVersion'),
  7: of('generation', 'integer'),
  8: of('creationTimestamp', 'time'),
  9: of('deletionTimestamp', 'time'),
  11: of('labels', 'string-map'),
  12: of('annotations', 'string-map'),
  13: listOf('ownerReferences', ownerReference),
  14: listOf('finalizers', 'string'),
};
const metadata = of('metadata', objectMeta);
const reference: Message = {
  1: text('kind'),
  2: text('namespace'),
  3: text('name'),
  4: text('uid'),
  5: text('apiVersion'),
  6: text('resourceVersion'),
  7: text('fieldPath'),
};

const kinds: Readonly<Record<string, Message>> = {
  'v1 Namespace': {
    1: metadata,
    2: of('spec', { 1: listOf('finalizers', 'string') }),
    3: of('status', { 1: text('phase') }),
  },
  'v1 ConfigMap': {
    1: metadata,
    2: of('data', 'string-map'),
    3: of('binaryData', 'bytes-map'),
    4: of('immutable', 'boolean'),
  },
  'v1 Secret': {
    1: metadata,
    2: of('data', 'bytes-map'),
    3: text('type'),
    4: of('stringData', 'string-map'),
    5: of('immutable', 'boolean'),
  },
  'v1 Event': {
    1: metadata,
    2: of('involvedObject', reference),
    3: text('reason'),
    4: text('message'),
    5: of('source', { 1: text('component'), 2: text('host') }),
    6: of('firstTimestamp', 'time'),
    7: of('lastTimestamp', 'time'),
    8: of('count', 'integer'),
    9: text('type'),
    10: of('eventTime', 'micro-time'),
    11: of('series', { 1: of('count', 'integer'), 2: of('lastObservedTime', 'micro-time') }),
    12: text('action'),
    13: of('related', reference),
    14: text('reportingComponent'),
    15: text('reportingInstance'),
  },
  'coordination.k8s.io/v1 Lease': {
    1: metadata,
    2: of('spec', {
      1: text('holderIdentity'),
      2: of('leaseDurationSeconds', 'integer'),
      3: of('acquireTime', 'micro-time'),
      4: of('renewTime', 'micro-time'),
      5: of('leaseTransitions', 'integer'),
    }),
  },
  'v1 DeleteOptions': {
    2: of('preconditions', { 1: text('uid'), 2: text('resourceVersion') }),
    3: of('orphanDependents', 'boolean'),
    4: text('propagationPolicy'),
    5: listOf('dryRun', 'string'),
  },
};

const magic = Buffer.from('k8s\0');

/**
 * Decodes an object in the envelope of k8s.io/apimachinery/pkg/runtime (`k8s\0`, then runtime.Unknown).
 *
 * @throws ApiError 400 for bytes that are none, 415 for a kind that is not taken in this form.
 */
export function decodeProtobuf(body: Buffer): JsonObject {
  if (!body.subarray(0, magic.length).equals(magic)) throw badRequest('the body has no Kubernetes protobuf prefix');
  try {
    const envelope = new Map([...fieldsOf(body.subarray(magic.length))].map(({ number, bytes }) => [number, bytes]));
    const typeMeta = decodeMessage(envelope.get(1) ?? Buffer.alloc(0), { 1: text('apiVersion'), 2: text('kind') });
    const kind = String(typeMeta['kind']);
    const message = kinds[kind === 'DeleteOptions' ? 'v1 DeleteOptions' : `${String(typeMeta['apiVersion'])} ${kind}`];
    if (message === undefined) throw unsupportedMediaType(['application/json', 'application/yaml']);
    return { ...typeMeta, ...decodeMessage(envelope.get(2) ?? Buffer.alloc(0), message) };
  } catch (error) {
    if (error instanceof RangeError) throw badRequest('the body ends in the middle of a protobuf field');
    throw error;
  }
}

interface RawField {
  readonly number: number;
  readonly varint: number;
  readonly bytes: Buffer;
}

/** @throws RangeError when the bytes end within a field. */
function* fieldsOf(buffer: Buffer): Generator<RawField> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = buffer.readUInt8(at++);
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      if (factor > 2 ** 63) throw new RangeError('a varint is too long');
    }
  };
  while (at < buffer.length) {
    const tag = varint();
    const wire = tag % 8;
    const number = Math.floor(tag / 8);
    if (wire === 0) yield { number, varint: varint(), bytes: Buffer.alloc(0) };
    else {
      const length = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : NaN;
      if (!(at + length <= buffer.length)) throw new RangeError('a field is too long');
      yield { number, varint: 0, bytes: buffer.subarray(at, at + length) };
      at += length;
    }
  }
}

function decodeMessage(buffer: Buffer, message: Message): JsonObject {
  const result: JsonObject = {};
  for (const raw of fieldsOf(buffer)) {
    const field = message[raw.number];
    if (field === undefined) continue;
    const { name, type } = field;
    if (type === 'string-map' || type === 'bytes-map') {
      const entry = decodeMessage(raw.bytes, {
        1: text('key'),
        2: of('value', type === 'string-map' ? 'string' : 'bytes'),
      });
      const map = (result[name] ??= {}) as JsonObject;
      map[textOf(entry['key'])] = entry['value'] ?? '';
      continue;
    }
    const value = decodeValue(raw, type);
    if (field.list === true) ((result[name] ??= []) as unknown[]).push(value);
    // Go writes what is not set as empty.
    else if (value !== undefined && value !== '') result[name] = value;
  }
  return result;
}

function decodeValue({ varint, bytes }: RawField, type: FieldType): unknown {
  if (type === 'string') return bytes.toString('utf8');
  if (type === 'bytes') return bytes.toString('base64');
  if (type === 'integer') return varint;
  if (type === 'boolean') return varint === 1;
  if (type === 'time' || type === 'micro-time') return decodeTime(bytes, type === 'time');
  const decoded = decodeMessage(bytes, type as Message);
  return Object.keys(decoded).length === 0 ? undefined : decoded;
}

function decodeTime(bytes: Buffer, wholeSeconds: boolean): string | undefined {
  const parts = decodeMessage(bytes, { 1: of('seconds', 'integer'), 2: of('nanos', 'integer') });
  if (parts['seconds'] === undefined) return undefined;
  const date = new Date(Number(parts['seconds']) * 1000).toISOString().slice(0, 19);
  if (wholeSeconds) return `${date}Z`;
  const micros = Math.floor(Number(parts['nanos'] ?? 0) / 1000);
  return `${date}.${String(micros).padStart(6, '0')}Z`;
}
