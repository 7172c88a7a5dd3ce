import type { JsonObject } from '../schema/json-schema.ts';
import { isJsonObject } from '../schema/json-schema.ts';
import type { ApiState, WriteOptions, Written } from './api-state.ts';
import { decode } from './api-state.ts';
import type { Target } from './update.ts';
import { mustExist, writeUpdate } from './update.ts';

/** The finalize subresource of a namespace: sets spec.finalizers and nothing else. */
export async function finalizeNamespace(
  state: ApiState,
  target: Target,
  object: JsonObject,
  options: WriteOptions,
): Promise<Written> {
  const old = decode(mustExist(state, target));
  const next = { ...structuredClone(old), spec: withoutEmpty(object['spec']) };
  return await writeUpdate(state, target, old, next, options, false);
}

function withoutEmpty(spec: unknown): JsonObject {
  const finalizers = isJsonObject(spec) ? spec['finalizers'] : undefined;
  return Array.isArray(finalizers) && finalizers.length > 0 ? { finalizers } : {};
}
