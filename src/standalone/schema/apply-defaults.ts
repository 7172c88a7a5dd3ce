import type { JsonObject, JsonSchema } from './json-schema.ts';
import { isJsonObject, schemaOfField } from './json-schema.ts';

/**
 * Fills in a schema's defaults, in place. A null where the schema does not allow one counts as left out when there is
 * a default, as in apiextensions.k8s.io/v1.
 */
export function applyDefaults(value: unknown, schema: JsonSchema): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const item of value) applyDefaults(item, schema.items);
    return;
  }
  if (!isJsonObject(value)) return;
  for (const [key, field] of Object.entries(schema.properties ?? {})) {
    if (field.default === undefined) continue;
    const missing = value[key] === undefined || (value[key] === null && field.nullable !== true);
    if (missing) value[key] = structuredClone(field.default);
  }
  descend(value, schema);
}

function descend(value: JsonObject, schema: JsonSchema): void {
  for (const [key, child] of Object.entries(value)) {
    if (typeof child !== 'object' || child === null) continue;
    const field = schemaOfField(schema, key);
    if (field !== undefined) applyDefaults(child, field);
  }
}
