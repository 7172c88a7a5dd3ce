import type { JsonObject, JsonSchema } from './json-schema.ts';
import { isJsonObject, schemaOfField } from './json-schema.ts';

/**
 * Removes, in place, fields that are null where a structural schema allows no null: they count as left out, as in
 * CustomResourceDefinitions. Items of lists stay, for validation to refuse; so does what the schema does not know.
 */
export function dropNulls(value: unknown, schema: JsonSchema): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const item of value) dropNulls(item, schema.items);
    return;
  }
  if (!isJsonObject(value)) return;
  for (const [key, child] of Object.entries(value)) {
    if (child !== null && typeof child !== 'object') continue;
    const field = schemaOfField(schema, key);
    if (field === undefined) continue;
    if (child !== null) dropNulls(child, field);
    else if (field.nullable !== true && field.type !== undefined) drop(value, key);
    else if (field['x-kubernetes-int-or-string'] === true && field.nullable !== true) drop(value, key);
  }
}

function drop(object: JsonObject, key: string): void {
  Reflect.deleteProperty(object, key);
}
