import { isDeepStrictEqual } from 'node:util';
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';
import { isJsonObject, schemaOfField, setField } from '../schema/json-schema.ts';
import type { FieldSet } from './field-path.ts';
import { joinPath } from './field-path.ts';

/** How a value is merged: as a whole, field by field, or item by item. */
export type Merge = 'atomic' | 'map' | 'set' | 'keyed';

/** A value nobody has described: maps are merged, lists are not. */
const unknownSchema: JsonSchema = {};

/** How the value of a field is merged by its schema's x-kubernetes extensions. */
export function mergeOf(value: unknown, schema: JsonSchema): Merge {
  if (isJsonObject(value)) return schema['x-kubernetes-map-type'] === 'atomic' ? 'atomic' : 'map';
  if (!Array.isArray(value)) return 'atomic';
  const type = schema['x-kubernetes-list-type'];
  if (type === 'map') return 'keyed';
  return type === 'set' ? 'set' : 'atomic';
}

/** The schema below a field. */
export function childSchema(schema: JsonSchema, key: string): JsonSchema {
  return schemaOfField(schema, key) ?? unknownSchema;
}

/** A keyed list's item as a path element. */
export function itemElement(item: unknown, schema: JsonSchema): string {
  const keys: JsonObject = {};
  for (const key of [...(schema['x-kubernetes-list-map-keys'] ?? [])].sort()) {
    const value = isJsonObject(item) ? (item[key] ?? schema.items?.properties?.[key]?.default) : undefined;
    if (value !== undefined) keys[key] = value;
  }
  return `k:${JSON.stringify(keys)}`;
}

/** The items of a set or keyed list by their path element. */
export function itemsByElement(list: readonly unknown[], schema: JsonSchema, merge: Merge): Map<string, unknown> {
  return new Map(list.map((item) => [merge === 'set' ? `v:${JSON.stringify(item)}` : itemElement(item, schema), item]));
}

/** The fields that an applied configuration names. */
export function fieldsOf(object: JsonObject, schema: JsonSchema): FieldSet {
  const set: FieldSet = new Set();
  const walk = (value: unknown, at: JsonSchema, path: string): void => {
    const merge = mergeOf(value, at);
    if (merge === 'atomic') {
      if (path !== '') set.add(path);
    } else if (merge === 'map') {
      for (const [key, child] of Object.entries(value as JsonObject)) {
        const next = joinPath(path, `f:${key}`);
        const isEmpty = child === null || (isJsonObject(child) && Object.keys(child).length === 0);
        const isDeclared = at.properties !== undefined && Object.hasOwn(at.properties, key);
        if (isEmpty || !isDeclared) set.add(next);
        walk(child, childSchema(at, key), next);
      }
    } else {
      for (const [element, item] of itemsByElement(value as unknown[], at, merge)) {
        const next = joinPath(path, element);
        set.add(next);
        if (merge === 'keyed') walk(item, at.items ?? unknownSchema, next);
      }
    }
  };
  walk(object, schema, '');
  return set;
}

/** What differs between two states of an object. */
export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

/** Compares two states of an object field by field. */
export function compare(before: JsonObject, after: JsonObject, schema: JsonSchema): Comparison {
  const result: Comparison = { added: new Set(), modified: new Set(), removed: new Set() };
  compareValues(before, after, schema, '', result);
  return result;
}

function compareValues(before: unknown, after: unknown, schema: JsonSchema, path: string, into: Comparison): void {
  if (before === after) return;
  if (path !== '' && before === undefined) into.added.add(path);
  if (path !== '' && after === undefined) into.removed.add(path);
  const merge = mergeOf(after ?? before, schema);
  const mergeBefore = before === undefined ? merge : mergeOf(before, schema);
  if (merge === 'atomic' || merge !== mergeBefore) {
    const differs = before !== undefined && after !== undefined && !isDeepStrictEqual(before, after);
    if (differs) into.modified.add(path);
    return;
  }
  if (merge === 'map') {
    const old = (before ?? {}) as JsonObject;
    const next = (after ?? {}) as JsonObject;
    for (const key of new Set([...Object.keys(old), ...Object.keys(next)])) {
      compareValues(old[key], next[key], childSchema(schema, key), joinPath(path, `f:${key}`), into);
    }
    return;
  }
  const old = itemsByElement((before ?? []) as unknown[], schema, merge);
  const next = itemsByElement((after ?? []) as unknown[], schema, merge);
  for (const element of new Set([...old.keys(), ...next.keys()])) {
    const below = merge === 'keyed' ? (schema.items ?? unknownSchema) : unknownSchema;
    compareValues(old.get(element), next.get(element), below, joinPath(path, element), into);
  }
}

/** The live value with an applied configuration merged in. */
export function mergeValues(live: unknown, applied: unknown, schema: JsonSchema): unknown {
  const merge = mergeOf(applied, schema);
  if (live === undefined || merge === 'atomic' || mergeOf(live, schema) !== merge) return structuredClone(applied);
  if (merge === 'map') {
    const result: JsonObject = { ...(live as JsonObject) };
    for (const [key, value] of Object.entries(applied as JsonObject)) {
      const before = Object.hasOwn(result, key) ? result[key] : undefined;
      setField(result, key, mergeValues(before, value, childSchema(schema, key)));
    }
    return result;
  }
  const result = itemsByElement(live as unknown[], schema, merge);
  for (const [element, item] of itemsByElement(applied as unknown[], schema, merge)) {
    result.set(element, merge === 'set' ? item : mergeValues(result.get(element), item, schema.items ?? unknownSchema));
  }
  return [...result.values()];
}

function isEmpty(value: unknown): boolean {
  return isJsonObject(value) && Object.keys(value).length === 0;
}

/** The value without the fields in `paths`, which are given from the value's root. */
export function removeFields(value: unknown, schema: JsonSchema, paths: FieldSet, path = ''): unknown {
  const merge = mergeOf(value, schema);
  if (merge === 'map') {
    const result: JsonObject = {};
    for (const [key, child] of Object.entries(value as JsonObject)) {
      const next = joinPath(path, `f:${key}`);
      if (paths.has(next)) continue;
      const left = removeFields(child, childSchema(schema, key), paths, next);
      // An object of which nothing is left goes as well, as at kube-apiserver.
      if (!isEmpty(left) || isEmpty(child)) result[key] = left;
    }
    return result;
  }
  if (merge === 'atomic') return value;
  return [...itemsByElement(value as unknown[], schema, merge)]
    .filter(([element]) => !paths.has(joinPath(path, element)))
    .map(([element, item]) =>
      merge === 'set' ? item : removeFields(item, schema.items ?? unknownSchema, paths, joinPath(path, element)),
    );
}
