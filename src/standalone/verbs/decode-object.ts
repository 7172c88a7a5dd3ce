import { isDeepStrictEqual } from 'node:util';
import { badRequest, invalid } from '../http/api-error.ts';
import { objectMetaSchema } from '../kinds/object-meta.ts';
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import { apiVersionOf } from '../kinds/resource-definition.ts';
import { applyDefaults } from '../schema/apply-defaults.ts';
import { dropNulls } from '../schema/drop-nulls.ts';
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';
import { isJsonObject, textOf } from '../schema/json-schema.ts';
import { prune } from '../schema/prune.ts';
import { validate } from '../schema/validate.ts';
import type { WriteOptions } from './api-state.ts';

/** Warnings in an answer are bounded, as in kube-apiserver. */
const maxWarnings = 20;

/**
 * A request's body as an object of a definition: its apiVersion and kind checked, unknown fields dealt with as
 * fieldValidation says, defaults filled in. The argument is changed and returned.
 *
 * @throws ApiError 400 for what is not an object of this kind.
 */
export function decodeObject(body: unknown, definition: ResourceDefinition, options: WriteOptions): JsonObject {
  const { kind, version } = definition;
  const cannot = (why: string): Error =>
    badRequest(`${kind} in version ${JSON.stringify(version)} cannot be handled as a ${kind}: ${why}`);
  if (!isJsonObject(body)) {
    throw badRequest(
      `the object provided is unrecognized (must be of type ${kind}): couldn't get version/kind; json parse error: not an object`,
    );
  }
  const apiVersion = apiVersionOf(definition);
  if (body['kind'] === undefined || body['kind'] === '') {
    if (definition.builtIn !== true) throw cannot("Object 'Kind' is missing");
    body['kind'] = kind;
  }
  body['apiVersion'] ??= definition.builtIn === true ? apiVersion : '';
  if (body['apiVersion'] !== apiVersion) {
    throw badRequest(
      `the API version in the data (${String(body['apiVersion'])}) does not match the expected API version (${apiVersion})`,
    );
  }
  if (body['kind'] !== kind) throw wrongKind(body, definition);
  decodeMetadata(body, cannot);
  const unknown = [...pruneMetadata(body), ...prune(body, definition.schema)];
  reportUnknown(unknown, options, cannot);
  dropNulls(body, definition.schema);
  if (definition.builtIn === true) checkTypes(body, definition, cannot);
  applyDefaults(body, definition.schema);
  return body;
}

function wrongKind(body: JsonObject, definition: ResourceDefinition): Error {
  const found = String(body['kind']);
  if (definition.builtIn === true) {
    return badRequest(
      `${found} in version ${JSON.stringify(definition.version)} cannot be handled as a ${definition.kind}: converting (v1.${found}) to (core.${definition.kind}): unknown conversion`,
    );
  }
  const name = isJsonObject(body['metadata']) ? textOf(body['metadata']['name']) : '';
  return invalid({ ...definition, kind: found }, name, [
    {
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(found)}: must be ${definition.kind}`,
      field: 'kind',
    },
  ]);
}

/** metadata is Go's ObjectMeta in a real API server: a wrong type there cannot be decoded at all. */
function decodeMetadata(body: JsonObject, cannot: (why: string) => Error): void {
  const metadata = body['metadata'] ?? {};
  if (!isJsonObject(metadata)) throw cannot('json: cannot unmarshal metadata into Go value of type v1.ObjectMeta');
  for (const [key, value] of Object.entries(metadata)) if (value === null) Reflect.deleteProperty(metadata, key);
  body['metadata'] = metadata;
  const owners = metadata['ownerReferences'];
  if (Array.isArray(owners)) metadata['ownerReferences'] = withoutTwins(owners as unknown[]);
  const [problem] = validate({ meta: metadata }, { type: 'object', properties: { meta: withoutRequired } });
  if (problem === undefined) return;
  const field = problem.field.replace(/^meta/, 'metadata');
  throw cannot(`${field}: ${problem.message.replaceAll('meta.', 'metadata.')}`);
}

/** As kube-apiserver: the same owner named twice is one. */
function withoutTwins(items: readonly unknown[]): unknown[] {
  return items.filter((item, index) => items.findIndex((other) => isDeepStrictEqual(other, item)) === index);
}

/** Types only: owners without a name are told by validation of metadata, in its own words, and lists merge by themselves. */
const withoutRequired: JsonSchema = {
  ...objectMetaSchema,
  properties: {
    ...objectMetaSchema.properties,
    ownerReferences: {
      type: 'array',
      items: { ...objectMetaSchema.properties?.['ownerReferences']?.items, required: [] },
    },
    finalizers: { type: 'array', items: { type: 'string' } },
  },
};

function pruneMetadata(body: JsonObject): string[] {
  return prune({ meta: body['metadata'] }, { type: 'object', properties: { meta: objectMetaSchema } }).map((path) =>
    path.replace(/^meta/, 'metadata'),
  );
}

function reportUnknown(paths: readonly string[], options: WriteOptions, cannot: (why: string) => Error): void {
  if (paths.length === 0) return;
  const messages = paths.map((path) => `unknown field ${JSON.stringify(path)}`);
  if (options.fieldValidation === 'Strict') throw cannot(`strict decoding error: ${messages.join(', ')}`);
  if (options.fieldValidation === 'Warn') {
    options.warnings.push(...messages.slice(0, Math.max(0, maxWarnings - options.warnings.length)));
  }
}

/** Kubernetes' own kinds are Go structs: a wrong type is a bad request, not an invalid object. */
function checkTypes(body: JsonObject, definition: ResourceDefinition, cannot: (why: string) => Error): void {
  for (const [key, value] of Object.entries(body)) if (value === null) Reflect.deleteProperty(body, key);
  const [problem] = validate(body, definition.schema).filter(({ message }) => message.includes(' must be of type '));
  if (problem !== undefined) throw cannot(`${problem.field}: ${problem.message}`);
}
