import { randomUUID } from 'node:crypto';
import type { AdmissionReader, ResourceDefinition } from '../kinds/resource-definition.ts';
import { apiVersionOf, resourceKey } from '../kinds/resource-definition.ts';
import type { DefinitionRegistry } from '../kinds/registry.ts';
import { withTypeMeta } from '../kinds/object-meta.ts';
import { ApiError } from '../http/api-error.ts';
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';
import { isJsonObject, textOf } from '../schema/json-schema.ts';
import type { StoredObject } from '../storage/change.ts';
import type { Store } from '../storage/store.ts';

/** What every verb works on. */
export interface ApiState {
  readonly store: Store;
  readonly registry: DefinitionRegistry;
  /** Wall-clock milliseconds. */
  readonly now: () => number;
  /** A number in [0, 1), for generated names. */
  readonly random: () => number;
}

/** How a write is asked for, from its query parameters. */
export interface WriteOptions {
  readonly dryRun: boolean;
  readonly fieldManager: string;
  /** What happens to fields that the schema does not know: refused, warned about, or dropped in silence. */
  readonly fieldValidation: 'Strict' | 'Warn' | 'Ignore';
  /** Warnings for the answer's headers are added here. */
  readonly warnings: string[];
}

/** An object after a verb, as it is stored or would be. */
export interface Written {
  readonly object: JsonObject;
  readonly created: boolean;
}

/** An object may not be larger than this, in bytes of JSON: etcd's bound. */
export const maxObjectBytes = 1_572_864;

export function metadataOf(object: JsonObject): JsonObject {
  const metadata = object['metadata'];
  if (isJsonObject(metadata)) return metadata;
  const made: JsonObject = {};
  object['metadata'] = made;
  return made;
}

export function keyOf(definition: ResourceDefinition, namespace: string, name: string): string {
  return definition.scope === 'Namespaced' ? `${namespace}/${name}` : name;
}

/** A stored object, decoded. */
export function decode(stored: StoredObject): JsonObject {
  return JSON.parse(stored.json.toString('utf8')) as JsonObject;
}

/** An object as its definition shows it. */
export function show(definition: ResourceDefinition, object: JsonObject): JsonObject {
  return definition.conversion === undefined ? object : definition.conversion.fromStorage(object);
}

/** The definition under which another one's objects are stored. */
export function storageDefinition(state: ApiState, definition: ResourceDefinition): ResourceDefinition {
  if (definition.conversion === undefined) return definition;
  return state.registry.storing(definition.conversion.storage) ?? definition;
}

const merged = new WeakMap<ResourceDefinition, JsonSchema>();

/** A definition's schema with metadata, made once. */
export function fullSchema(definition: ResourceDefinition): JsonSchema {
  let schema = merged.get(definition);
  if (schema === undefined) merged.set(definition, (schema = withTypeMeta(definition.schema)));
  return schema;
}

/** The JSON of an object: apiVersion and kind first, in a form that lists of built-in kinds can cut off. */
export function serialise(object: JsonObject): Buffer {
  const { apiVersion, kind, ...rest } = object;
  return Buffer.from(JSON.stringify({ apiVersion, kind, ...rest }));
}

/** What the store keeps of an object beside its JSON. */
export function indexed(
  definition: ResourceDefinition | undefined,
  resource: string,
  key: string,
  object: JsonObject,
  json: Buffer,
): StoredObject {
  const metadata = metadataOf(object);
  const owners = Array.isArray(metadata['ownerReferences']) ? (metadata['ownerReferences'] as unknown[]) : [];
  const name = String(metadata['name']);
  const namespace = textOf(metadata['namespace']);
  return {
    resource,
    key,
    name,
    namespace,
    uid: String(metadata['uid']),
    resourceVersion: Number(metadata['resourceVersion']),
    labels: (metadata['labels'] as Record<string, string> | undefined) ?? {},
    fields: definition?.selectableFields?.(object) ?? {},
    owners: owners.filter(isJsonObject).map((owner) => String(owner['uid'])),
    json,
  };
}

/** Stores an object under its resource version; the object is changed in place. */
export async function store(state: ApiState, definition: ResourceDefinition, object: JsonObject): Promise<void> {
  const metadata = metadataOf(object);
  const resource = resourceKey(definition);
  const key = keyOf(definition, textOf(metadata['namespace']), String(metadata['name']));
  await state.store.write({
    resource,
    key,
    object(revision) {
      metadata['resourceVersion'] = String(revision);
      const json = serialise(object);
      return indexed(definition, resource, key, object, json);
    },
  });
}

/** Refuses an object that is too large to be stored. */
export function checkSize(object: JsonObject): void {
  const bytes = Buffer.byteLength(JSON.stringify(object));
  if (bytes <= maxObjectBytes) return;
  throw new ApiError(
    413,
    'RequestEntityTooLarge',
    `Request entity too large: the object has ${bytes} bytes, the limit is ${maxObjectBytes}`,
  );
}

/** Reads objects for admission hooks, as the next write will meet them. */
export function admissionReader(state: ApiState): AdmissionReader {
  return {
    get(resource, namespace, name) {
      const key = namespace === '' ? name : `${namespace}/${name}`;
      const stored = state.store.latest(resource, key);
      return stored === undefined ? undefined : decode(stored);
    },
    mentioning: (resource, namespace, text) =>
      [...state.store.range(resource, namespace === '' ? '' : `${namespace}/`)]
        .filter(({ json }) => json.includes(text))
        .map(decode),
  };
}

/** Names of API versions for messages and managed fields. */
export { apiVersionOf, randomUUID as newUid };
