import { ApiError } from '../http/api-error.ts';
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';
import type { FieldSet } from './field-path.ts';
import { describePath, difference, hasDescendant, isSameSet, union } from './field-path.ts';
import type { FieldManager, ManagedEntry } from './managed-fields.ts';
import {
  conflictsOf,
  decodeManaged,
  encodeManaged,
  isSameManager,
  manageable,
  withoutChanged,
} from './managed-fields.ts';
import { compare, fieldsOf, mergeValues, removeFields } from './typed-walk.ts';

/**
 * The object that server-side apply makes of the live one and an applied configuration: merged, without what this
 * manager applied before and now leaves out, with its managedFields.
 *
 * @param live Undefined when the object does not exist.
 * @throws ApiError 409 with FieldManagerConflict causes, unless forced.
 */
export function serverSideApply(
  live: JsonObject | undefined,
  applied: JsonObject,
  schema: JsonSchema,
  manager: FieldManager,
  force: boolean,
): JsonObject {
  const entries = live === undefined ? [] : decodeManaged(live);
  const before = entries.find((entry) => isSameManager(entry, manager));
  const fields = manageable(fieldsOf(applied, schema));
  const others = entries.filter((entry) => entry !== before);
  const merged = mergeValues(live ?? {}, applied, schema) as JsonObject;
  const dropped = droppedFields(before?.fields ?? new Set(), fields, others);
  const next = dropped.size === 0 ? merged : (removeFields(merged, schema, dropped) as JsonObject);
  const raw = compare(live ?? {}, next, schema);
  const changes = {
    added: manageable(raw.added),
    modified: manageable(raw.modified),
    removed: manageable(raw.removed),
  };
  const conflicts = conflictsOf(others, manager, changes);
  if (conflicts.length > 0 && !force) throw conflictError(conflicts);
  const time = before !== undefined && isSameSet(before.fields, fields) ? before.time : manager.time;
  next['metadata'] = { ...(next['metadata'] as JsonObject) };
  encodeManaged(next, [...withoutChanged(others, manager, changes), { ...manager, time, fields }]);
  return next;
}

/** What was applied before, is not applied now, and nobody owns, nor anything below it. */
function droppedFields(before: FieldSet, now: FieldSet, others: readonly ManagedEntry[]): FieldSet {
  const owned = union(now, ...others.map((entry) => entry.fields));
  return new Set([...difference(before, owned)].filter((path) => !hasDescendant(owned, path)));
}

function conflictError(conflicts: readonly { readonly entry: ManagedEntry; readonly fields: FieldSet }[]): ApiError {
  const described = conflicts.flatMap(({ entry, fields }) => {
    const using = entry.operation === 'Apply' ? '' : ` using ${entry.apiVersion}`;
    const subresource = entry.subresource === '' ? '' : ` with subresource "${entry.subresource}"`;
    return [...fields].sort().map((path) => ({
      who: `"${entry.manager}"${subresource}${using}`,
      field: describePath(path),
    }));
  });
  const byManager = new Map<string, string[]>();
  for (const { who, field } of described) byManager.set(who, [...(byManager.get(who) ?? []), field]);
  const parts = [...byManager].map(([who, found]) =>
    found.length === 1
      ? `conflict with ${who}: ${found[0] ?? ''}`
      : `conflicts with ${who}:\n${found.map((field) => `- ${field}`).join('\n')}`,
  );
  const count = `${described.length} conflict${described.length === 1 ? '' : 's'}`;
  return new ApiError(409, 'Conflict', `Apply failed with ${count}: ${parts.join('\n')}`, {
    causes: described.map(({ who, field }) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with ${who}`,
      field,
    })),
  });
}
