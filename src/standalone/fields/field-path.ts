/**
 * Paths of fields as server-side apply knows them (sigs.k8s.io/structured-merge-diff), and sets of them. A path is a
 * list of elements in FieldsV1 notation: `f:spec`, `k:{"name":"a"}`, `v:"x"`, `i:0`; in a set it is one string.
 */
import type { JsonObject } from '../schema/json-schema.ts';
import { isJsonObject } from '../schema/json-schema.ts';

/** A set of paths. */
export type FieldSet = Set<string>;

const separator = '\u0000';

export function joinPath(parent: string, element: string): string {
  return parent === '' ? element : `${parent}${separator}${element}`;
}

export function pathElements(path: string): string[] {
  return path.split(separator);
}

/** Whether a set has a path below `path`. */
export function hasDescendant(set: FieldSet, path: string): boolean {
  const prefix = `${path}${separator}`;
  for (const one of set) if (one.startsWith(prefix)) return true;
  return false;
}

export function union(...sets: readonly FieldSet[]): FieldSet {
  return new Set(sets.flatMap((set) => [...set]));
}

export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return new Set([...a].filter((path) => !b.has(path)));
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return new Set([...a].filter((path) => b.has(path)));
}

export function isSameSet(a: FieldSet, b: FieldSet): boolean {
  return a.size === b.size && [...a].every((path) => b.has(path));
}

/** Reads FieldsV1: a tree whose `.` says that the node itself is in the set; an empty node always is. */
export function decodeFields(fields: unknown): FieldSet {
  const set: FieldSet = new Set();
  const walk = (node: JsonObject, path: string): void => {
    for (const [element, child] of Object.entries(node)) {
      if (element === '.') {
        if (path !== '') set.add(path);
      } else if (isJsonObject(child)) {
        const next = joinPath(path, element);
        if (Object.keys(child).length === 0) set.add(next);
        else walk(child, next);
      }
    }
  };
  if (isJsonObject(fields)) walk(fields, '');
  return set;
}

/** Writes FieldsV1, in the order of the paths. */
export function encodeFields(set: FieldSet): JsonObject {
  const root: JsonObject = {};
  for (const path of [...set].sort()) {
    let node = root;
    for (const element of pathElements(path)) {
      const next = node[element];
      node = isJsonObject(next) ? next : (node[element] = {});
    }
    node['.'] = {};
  }
  dropLeafDots(root);
  return root;
}

function dropLeafDots(node: JsonObject): void {
  for (const child of Object.values(node)) {
    if (!isJsonObject(child)) continue;
    const keys = Object.keys(child);
    if (keys.length === 1 && keys[0] === '.') delete child['.'];
    else dropLeafDots(child);
  }
}

/** A path as messages show it: `.spec.parts[name="a"].count`. */
export function describePath(path: string): string {
  return pathElements(path)
    .map((element) => {
      const text = element.slice(2);
      if (element.startsWith('f:')) return `.${text}`;
      if (element.startsWith('v:')) return `[=${text}]`;
      if (element.startsWith('i:')) return `[${text}]`;
      const keys = JSON.parse(text) as JsonObject;
      return `[${Object.entries(keys)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join(',')}]`;
    })
    .join('');
}
