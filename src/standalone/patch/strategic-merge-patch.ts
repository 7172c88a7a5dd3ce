/**
 * Strategic merge patch for Kubernetes' own kinds (https://kubernetes.io/docs/tasks/manage-kubernetes-objects/
 * update-api-object-kubectl-patch/). Taken: maps, atomic lists, lists merged by a key or as a set (as the schema's
 * x-kubernetes-patch extensions say), `$patch: replace|delete|merge`, `$deleteFromPrimitiveList/…`, `$retainKeys`;
 * `$setElementOrder/…` is read over, as the order of the lists of our kinds means nothing.
 */
import { badRequest } from '../http/api-error.ts';
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';
import { isJsonObject, schemaOfField, setField } from '../schema/json-schema.ts';

const deleteFrom = '$deleteFromPrimitiveList/';
const orderOf = '$setElementOrder/';

/** Applies a strategic merge patch and returns the result; the arguments stay as they are. */
export function applyStrategicMergePatch(target: JsonObject, patch: JsonObject, schema: JsonSchema): JsonObject {
  const directive = patch['$patch'];
  if (directive === 'replace') return withoutDirectives(patch);
  if (directive === 'delete') return {};
  if (directive !== undefined && directive !== 'merge')
    throw badRequest(`Unknown patch type: ${JSON.stringify(directive)}`);
  const result: JsonObject = { ...target };
  const retained = patch['$retainKeys'];
  if (Array.isArray(retained)) {
    for (const key of Object.keys(result)) if (!retained.includes(key)) Reflect.deleteProperty(result, key);
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key === '$patch' || key === '$retainKeys' || key.startsWith(orderOf)) continue;
    if (key.startsWith(deleteFrom)) deletePrimitives(result, key.slice(deleteFrom.length), value);
    else if (value === null) Reflect.deleteProperty(result, key);
    else {
      const before = Object.hasOwn(result, key) ? result[key] : undefined;
      setField(result, key, mergeField(before, value, schemaOfField(schema, key) ?? {}));
    }
  }
  return result;
}

function mergeField(target: unknown, value: unknown, schema: JsonSchema): unknown {
  if (isJsonObject(value)) return applyStrategicMergePatch(isJsonObject(target) ? target : {}, value, schema);
  if (!Array.isArray(value) || schema['x-kubernetes-patch-strategy'] !== 'merge') return structuredClone(value);
  const list = Array.isArray(target) ? (target as unknown[]) : [];
  const key = schema['x-kubernetes-patch-merge-key'];
  if (key === undefined) return [...(value as unknown[]), ...list.filter((item) => !value.includes(item))];
  return mergeByKey(list, value, key, schema.items ?? {});
}

function mergeByKey(list: readonly unknown[], patches: readonly unknown[], key: string, schema: JsonSchema): unknown[] {
  let result = list.filter(isJsonObject);
  for (const patch of patches) {
    if (!isJsonObject(patch)) throw badRequest('a list that is merged by a key may only hold objects');
    if (patch['$patch'] === 'replace') {
      result = patches.filter(isJsonObject).filter((item) => item['$patch'] === undefined);
      return result;
    }
    const at = result.findIndex((item) => item[key] === patch[key]);
    if (patch['$patch'] === 'delete') result = result.filter((item) => item[key] !== patch[key]);
    else if (at < 0) result.push(applyStrategicMergePatch({}, patch, schema));
    else result[at] = applyStrategicMergePatch(result[at] ?? {}, patch, schema);
  }
  return result;
}

function deletePrimitives(result: JsonObject, key: string, values: unknown): void {
  const list = result[key];
  if (!Array.isArray(list) || !Array.isArray(values)) return;
  result[key] = (list as unknown[]).filter((item) => !values.includes(item));
}

function withoutDirectives(patch: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(patch).filter(([key]) => !key.startsWith('$')));
}
