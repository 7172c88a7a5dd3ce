import { isRecord, sameJson } from '../../api/problem.ts';

/**
 * The JSON merge patch (RFC 7386) that turns one value into another.
 *
 * @returns undefined when they are equal.
 */
export function mergePatchOf(before: unknown, after: unknown): unknown {
  if (!isRecord(before) || !isRecord(after)) return sameJson(before, after) ? undefined : after;
  const patch: Record<string, unknown> = {};
  for (const key of Object.keys(before)) {
    if (after[key] === undefined && before[key] !== undefined) patch[key] = null;
  }
  for (const key of Object.keys(after)) {
    if (after[key] === undefined) continue;
    const difference = mergePatchOf(before[key], after[key]);
    if (difference !== undefined) patch[key] = difference;
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}
