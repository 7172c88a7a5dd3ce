import type { JsonObject, JsonSchema } from './json-schema.ts';
import { isJsonObject, schemaOfField } from './json-schema.ts';

/**
 * Removes the fields that a structural schema does not know, in place, as CustomResourceDefinitions do.
 *
 * @returns The paths of what was removed, as `spec.disks[0].sise`; the object's own metadata is not looked at.
 */
export function prune(object: JsonObject, schema: JsonSchema): string[] {
  const removed: string[] = [];
  for (const [key, value] of Object.entries(object)) {
    if (key === 'apiVersion' || key === 'kind' || key === 'metadata') continue;
    pruneField(object, key, value, schema, key, removed);
  }
  return removed;
}

function pruneField(
  owner: JsonObject,
  key: string,
  value: unknown,
  schema: JsonSchema,
  path: string,
  removed: string[],
): void {
  const field = schemaOfField(schema, key);
  if (field !== undefined) pruneValue(value, field, path, removed);
  else if (schema['x-kubernetes-preserve-unknown-fields'] !== true && schema.additionalProperties !== true) {
    Reflect.deleteProperty(owner, key);
    removed.push(path);
  }
}

function pruneValue(value: unknown, schema: JsonSchema, path: string, removed: string[]): void {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items !== undefined) value.forEach((item, index) => pruneValue(item, items, `${path}[${index}]`, removed));
    return;
  }
  if (!isJsonObject(value)) return;
  const embedded = schema['x-kubernetes-embedded-resource'] === true;
  for (const [key, field] of Object.entries(value)) {
    if (embedded && (key === 'apiVersion' || key === 'kind' || key === 'metadata')) continue;
    pruneField(value, key, field, schema, `${path}.${key}`, removed);
  }
}
