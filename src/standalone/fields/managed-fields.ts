/**
 * metadata.managedFields: who set which field last, as server-side apply defines it
 * (https://kubernetes.io/docs/reference/using-api/server-side-apply/).
 */
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';
import { isJsonObject, textOf } from '../schema/json-schema.ts';
import type { FieldSet } from './field-path.ts';
import { decodeFields, difference, encodeFields, intersection, isSameSet, joinPath, union } from './field-path.ts';
import type { Comparison } from './typed-walk.ts';
import { compare } from './typed-walk.ts';

/** One manager's entry. */
export interface ManagedEntry {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string;
  readonly fields: FieldSet;
}

/** Who writes. */
export interface FieldManager {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  readonly subresource: string;
  /** metav1.Time. */
  readonly time: string;
}

const unmanagedMetadata = [
  'name',
  'namespace',
  'creationTimestamp',
  'selfLink',
  'uid',
  'clusterName',
  'generation',
  'managedFields',
  'resourceVersion',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
];
const unmanaged: FieldSet = new Set([
  'f:apiVersion',
  'f:kind',
  'f:metadata',
  ...unmanagedMetadata.map((key) => joinPath('f:metadata', `f:${key}`)),
]);

/** The fields that managers can own. */
export function manageable(fields: FieldSet): FieldSet {
  return difference(fields, unmanaged);
}

/** Reads an object's managedFields; entries that are not FieldsV1 are dropped. */
export function decodeManaged(object: JsonObject): ManagedEntry[] {
  const metadata = object['metadata'];
  const entries = isJsonObject(metadata) ? metadata['managedFields'] : undefined;
  if (!Array.isArray(entries)) return [];
  return (entries as unknown[]).filter(isJsonObject).map((entry) => ({
    manager: textOf(entry['manager']),
    operation: entry['operation'] === 'Apply' ? 'Apply' : 'Update',
    apiVersion: textOf(entry['apiVersion']),
    subresource: textOf(entry['subresource']),
    time: textOf(entry['time']),
    fields: decodeFields(entry['fieldsV1']),
  }));
}

/** Writes managedFields into an object: applied ones first, then in order of time, as kube-apiserver does. */
export function encodeManaged(object: JsonObject, entries: readonly ManagedEntry[]): void {
  const metadata = object['metadata'] as JsonObject;
  const kept = entries.filter(({ fields }) => fields.size > 0);
  if (kept.length === 0) {
    delete metadata['managedFields'];
    return;
  }
  const rank = (entry: ManagedEntry): string => `${entry.operation === 'Apply' ? 0 : 1}${entry.time}${entry.manager}`;
  metadata['managedFields'] = [...kept]
    .sort((a, b) => (rank(a) < rank(b) ? -1 : 1))
    .map((entry) => ({
      manager: entry.manager,
      operation: entry.operation,
      apiVersion: entry.apiVersion,
      time: entry.time,
      fieldsType: 'FieldsV1',
      fieldsV1: encodeFields(entry.fields),
      ...(entry.subresource === '' ? {} : { subresource: entry.subresource }),
    }));
}

export function isSameManager(entry: ManagedEntry, manager: FieldManager): boolean {
  return (
    entry.manager === manager.manager &&
    entry.operation === manager.operation &&
    entry.subresource === manager.subresource
  );
}

/** The entries after a change by `manager`: what it changed is no longer others', what was removed is nobody's. */
export function withoutChanged(
  entries: readonly ManagedEntry[],
  manager: FieldManager,
  changes: Comparison,
): ManagedEntry[] {
  const gone = union(changes.added, changes.modified, changes.removed);
  return entries.map((entry) => {
    const lost = isSameManager(entry, manager) ? changes.removed : gone;
    const fields = difference(entry.fields, lost);
    return fields.size === entry.fields.size ? entry : { ...entry, fields };
  });
}

/** The fields that others own and `changes` would take from them. */
export function conflictsOf(
  entries: readonly ManagedEntry[],
  manager: FieldManager,
  changes: Comparison,
): { readonly entry: ManagedEntry; readonly fields: FieldSet }[] {
  const taken = union(changes.added, changes.modified);
  return entries
    .filter((entry) => !isSameManager(entry, manager))
    .map((entry) => ({ entry, fields: intersection(entry.fields, taken) }))
    .filter(({ fields }) => fields.size > 0);
}

function isEmpty(value: unknown): boolean {
  return isJsonObject(value) && Object.keys(value).length === 0;
}

/**
 * Brings `next`'s managedFields up to date after a create, an update or a patch, in place.
 *
 * @param old The object before; undefined for a create.
 * @param given What the client sent as managedFields: a list with one empty entry resets them, as kube-apiserver takes it.
 */
export function trackUpdate(
  old: JsonObject | undefined,
  next: JsonObject,
  schema: JsonSchema,
  manager: FieldManager,
  given: unknown,
): void {
  const reset = old !== undefined && Array.isArray(given) && given.length === 1 && isEmpty(given[0]);
  const entries = old === undefined || reset ? [] : decodeManaged(old);
  const raw = compare(old ?? {}, next, schema);
  const changes: Comparison = {
    added: manageable(raw.added),
    modified: manageable(raw.modified),
    removed: manageable(raw.removed),
  };
  const nothing = changes.added.size + changes.modified.size + changes.removed.size === 0;
  if (reset) {
    encodeManaged(next, []);
    return;
  }
  if (nothing) {
    encodeManaged(next, entries);
    return;
  }
  const others = withoutChanged(entries, manager, changes);
  const mine = others.find((entry) => isSameManager(entry, manager));
  const fields = union(mine?.fields ?? new Set(), changes.added, changes.modified);
  const before = entries.find((entry) => isSameManager(entry, manager));
  const time = before !== undefined && isSameSet(before.fields, fields) ? before.time : manager.time;
  encodeManaged(next, [...others.filter((entry) => entry !== mine), { ...manager, time, fields }]);
}
