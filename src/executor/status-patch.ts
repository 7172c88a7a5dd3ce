import { isDeepStrictEqual } from 'node:util';

type Json = Readonly<Record<string, unknown>>;

/**
 * The JSON merge patch (RFC 7386) that makes one object of the other.
 *
 * @returns undefined when nothing differs.
 */
export function mergePatchOf(before: Json | undefined, after: Json): Json | undefined {
  const patch: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(before ?? {})) {
    if (value !== undefined && after[key] === undefined) patch[key] = null;
  }
  for (const [key, value] of Object.entries(after)) {
    const old = before?.[key];
    if (value === undefined || isDeepStrictEqual(old, value)) continue;
    if (isRecord(value) && isRecord(old)) {
      const inner = mergePatchOf(old, value);
      if (inner !== undefined) patch[key] = inner;
    } else patch[key] = value;
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
