import type { DefinitionRegistry } from '../kinds/registry.ts';
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';
import type { OperationWriter } from './openapi-paths.ts';
import { pathsOf } from './openapi-paths.ts';
import { namedSchemas } from './openapi-schemas.ts';

const refPrefix = '#/definitions/';

/** The Swagger 2.0 document of everything that is served: what kubectl up to 1.26 explains and validates by. */
export function openApiV2(registry: DefinitionRegistry): JsonObject {
  const { definitions } = registry;
  return {
    swagger: '2.0',
    info: { title: 'virtctl', version: 'v1' },
    paths: Object.assign({}, ...definitions.map((one) => pathsOf(one, operations))) as JsonObject,
    definitions: namedSchemas(definitions, { refPrefix, write: toV2 }),
  };
}

const operations: OperationWriter = {
  parameter: (name, place, type, description) => ({
    name,
    in: place,
    type,
    description,
    uniqueItems: true,
    ...(place === 'path' ? { required: true } : {}),
  }),
  withBody(operation, schema, mediaTypes) {
    operation['consumes'] = mediaTypes;
    operation['parameters'] = [
      { name: 'body', in: 'body', required: true, schema: { $ref: `${refPrefix}${schema}` } },
      ...(operation['parameters'] as JsonObject[]),
    ];
  },
  response: (description, schema) => ({ description, schema: { $ref: `${refPrefix}${schema}` } }),
};

const kept = [
  'description',
  'type',
  'format',
  'title',
  'required',
  'enum',
  'pattern',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
] as const;

/**
 * A structural schema in Swagger 2.0, as kube-apiserver publishes it: without nullable, anyOf, oneOf and not, which v2
 * does not have, and without types where it would say too much.
 */
function toV2(schema: JsonSchema): JsonObject {
  const result: JsonObject = {};
  // Clients read a v2 schema more strictly than it is meant: a field that may be null or anything has no type.
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true && schema.properties === undefined;
  const typeless = schema.nullable === true || open || schema['x-kubernetes-int-or-string'] === true;
  for (const key of kept) {
    if (schema[key] === undefined || (typeless && key !== 'description')) continue;
    result[key] = schema[key];
  }
  if (schema.nullable !== true) {
    if (schema.properties !== undefined && schema['x-kubernetes-preserve-unknown-fields'] !== true) {
      result['properties'] = Object.fromEntries(
        Object.entries(schema.properties).map(([key, value]) => [key, toV2(value)]),
      );
    }
    if (typeof schema.additionalProperties === 'object')
      result['additionalProperties'] = toV2(schema.additionalProperties);
    if (schema.items !== undefined) result['items'] = toV2(schema.items);
  }
  for (const [key, value] of Object.entries(schema))
    if (key.startsWith('x-kubernetes-')) result[key] = value as unknown;
  return result;
}
