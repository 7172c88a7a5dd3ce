/**
 * The Swagger 2.0 document in protocol buffers, as gnostic defines it (github.com/google/gnostic, openapiv2/
 * OpenAPIv2.proto): the only form in which kubectl up to 1.26 asks for it. Of the definition only what our documents
 * contain is written.
 */
import { stringify } from 'yaml';
import type { JsonObject } from '../schema/json-schema.ts';
import { isJsonObject } from '../schema/json-schema.ts';

type Part = Buffer | undefined;

function varint(value: number): Buffer {
  const bytes = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

function delimited(field: number, content: Buffer): Buffer {
  return Buffer.concat([varint(field * 8 + 2), varint(content.length), content]);
}

function message(...parts: readonly (Part | readonly Part[])[]): Buffer {
  return Buffer.concat(parts.flat().filter((part): part is Buffer => part !== undefined));
}

function text(field: number, value: unknown): Part {
  return typeof value === 'string' && value !== '' ? delimited(field, Buffer.from(value)) : undefined;
}

function texts(field: number, values: unknown): Part[] {
  return Array.isArray(values) ? values.map((value) => text(field, String(value))) : [];
}

function flag(field: number, value: unknown): Part {
  return value === true ? Buffer.concat([varint(field * 8), Buffer.from([1])]) : undefined;
}

function integer(field: number, value: unknown): Part {
  return typeof value === 'number' ? Buffer.concat([varint(field * 8), varint(value)]) : undefined;
}

function double(field: number, value: unknown): Part {
  if (typeof value !== 'number') return undefined;
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([varint(field * 8 + 1), bytes]);
}

/** A map as a list of {name, value} messages. */
function named(field: number, map: unknown, encode: (value: JsonObject) => Buffer): Part[] {
  if (!isJsonObject(map)) return [];
  return Object.entries(map).map(([name, value]) =>
    delimited(field, message(text(1, name), delimited(2, encode(value as JsonObject)))),
  );
}

/** gnostic's Any: YAML. */
function any(value: unknown): Buffer {
  return message(text(2, stringify(value)));
}

function extensions(field: number, value: JsonObject): Part[] {
  return Object.entries(value)
    .filter(([key]) => key.startsWith('x-'))
    .map(([key, extension]) => delimited(field, message(text(1, key), delimited(2, any(extension)))));
}

function schema(value: JsonObject): Buffer {
  const { additionalProperties, type, items, properties } = value;
  return message(
    text(1, value['$ref']),
    text(2, value['format']),
    text(3, value['title']),
    text(4, value['description']),
    double(6, value['multipleOf']),
    double(7, value['maximum']),
    flag(8, value['exclusiveMaximum']),
    double(9, value['minimum']),
    flag(10, value['exclusiveMinimum']),
    integer(11, value['maxLength']),
    integer(12, value['minLength']),
    text(13, value['pattern']),
    integer(14, value['maxItems']),
    integer(15, value['minItems']),
    integer(17, value['maxProperties']),
    integer(18, value['minProperties']),
    texts(19, value['required']),
    Array.isArray(value['enum']) ? value['enum'].map((one: unknown) => delimited(20, any(one))) : undefined,
    isJsonObject(additionalProperties) ? delimited(21, delimited(1, schema(additionalProperties))) : undefined,
    typeof type === 'string' ? delimited(22, message(text(1, type))) : undefined,
    isJsonObject(items) ? delimited(23, delimited(1, schema(items))) : undefined,
    isJsonObject(properties) ? delimited(25, message(named(1, properties, schema))) : undefined,
    extensions(31, value),
  );
}

function parameter(value: JsonObject): Buffer {
  const common = [
    flag(1, value['required']),
    text(2, value['in']),
    text(3, value['description']),
    text(4, value['name']),
  ];
  if (value['in'] === 'body') {
    const body = message(
      text(1, value['description']),
      text(2, value['name']),
      text(3, value['in']),
      flag(4, value['required']),
      delimited(5, schema(value['schema'] as JsonObject)),
    );
    return delimited(1, delimited(1, body));
  }
  const inPath = value['in'] === 'path';
  const own = message(common, text(inPath ? 5 : 6, value['type']), inPath ? undefined : flag(20, value['uniqueItems']));
  return delimited(1, delimited(2, delimited(inPath ? 4 : 3, own)));
}

function parameters(field: number, values: unknown): Part[] {
  return Array.isArray(values) ? values.map((value) => delimited(field, parameter(value as JsonObject))) : [];
}

function response(value: JsonObject): Buffer {
  const answer = message(
    text(1, value['description']),
    isJsonObject(value['schema']) ? delimited(2, delimited(1, schema(value['schema']))) : undefined,
  );
  return delimited(1, answer);
}

function operation(value: JsonObject): Buffer {
  return message(
    text(3, value['description']),
    text(5, value['operationId']),
    texts(7, value['consumes']),
    parameters(8, value['parameters']),
    delimited(9, message(named(1, value['responses'], response))),
    extensions(13, value),
  );
}

const operationFields = { get: 2, put: 3, post: 4, delete: 5, patch: 8 } as const;

function pathItem(value: JsonObject): Buffer {
  const operations = Object.entries(operationFields).map(([verb, field]) => {
    const found = value[verb];
    return isJsonObject(found) ? delimited(field, operation(found)) : undefined;
  });
  return message(operations, parameters(9, value['parameters']));
}

/** A Swagger 2.0 document as gnostic's `openapi.v2.Document`. */
export function encodeOpenApiV2(document: JsonObject): Buffer {
  const info = document['info'] as JsonObject;
  return message(
    text(1, document['swagger']),
    delimited(2, message(text(1, info['title']), text(2, info['version']))),
    delimited(8, message(named(2, document['paths'], pathItem))),
    delimited(9, message(named(1, document['definitions'], schema))),
  );
}
