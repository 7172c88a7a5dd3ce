import type { Cause } from '../http/api-error.ts';
import type { JsonSchema } from './json-schema.ts';
import { isJsonObject } from './json-schema.ts';

/** A string as Go's %q and JSON write it. */
export function quote(text: string): string {
  return JSON.stringify(text);
}

/** Items of a set, and keys of a map-like list (x-kubernetes-list-type), may each be there once. */
export function validateListType(value: readonly unknown[], schema: JsonSchema, path: string, causes: Cause[]): void {
  const type = schema['x-kubernetes-list-type'];
  if (type !== 'set' && type !== 'map') return;
  const seen = new Set<string>();
  value.forEach((item, index) => {
    const identity = type === 'set' ? item : keysOf(item, schema);
    const text = JSON.stringify(identity);
    if (seen.has(text)) {
      causes.push({
        reason: 'FieldValueDuplicate',
        message: `Duplicate value: ${isJsonObject(identity) ? `map[string]interface {}${text}` : text}`,
        field: `${path}[${index}]`,
      });
    }
    seen.add(text);
  });
}

function keysOf(item: unknown, schema: JsonSchema): Record<string, unknown> {
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  if (!isJsonObject(item)) return {};
  return Object.fromEntries(keys.map((key) => [key, item[key] ?? schema.items?.properties?.[key]?.default]));
}
