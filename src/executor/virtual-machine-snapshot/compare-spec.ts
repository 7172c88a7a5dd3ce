/** What differs between a machine's spec and that of the time of a snapshot. Pure. */
import { isList, isObject, type Data, type DataObject } from '../virtual-machine/same-value.ts';

/** The members of a machine's spec that a snapshot brings back; the others are wishes about the machine as a whole. */
export const hardwareKeys = ['domain', 'volumes', 'interfaces', 'overlay'] as const;

/** The note of a Revert that failed for want of rights: the spec of then, as JSON and without secrets. */
export const specThenNote = 'specThen';

/** What stands in place of a secret's value in what is kept of a spec (virtual-machine/domain-metadata.ts). */
const notKept = '(not kept)';
/** More are not told. */
const maxPaths = 12;

/**
 * The paths of the fields that differ, as `domain.memory.value`. What was not kept, since it is secret, is taken as the same.
 *
 * @param then The spec at the time of the snapshot.
 * @param now The spec as it is.
 */
export function specDifferences(then: DataObject, now: DataObject): string[] {
  const paths: string[] = [];
  const wanted = withIdentity(then, now);
  for (const key of hardwareKeys) compare(wanted[key], now[key], key, paths);
  return paths.length > maxPaths ? [...paths.slice(0, maxPaths), `and ${paths.length - maxPaths} more`] : paths;
}

/**
 * The members that a snapshot brings back, as a merge patch of spec; secrets that were not kept stay as they are now.
 *
 * @returns undefined for a field whose secret is nowhere any more: it cannot be brought back.
 */
export function restoredSpec(then: DataObject, now: DataObject): DataObject | undefined {
  const patch: Record<string, Data> = {};
  const wanted = withIdentity(then, now);
  for (const key of hardwareKeys) {
    const value = wanted[key];
    if (value === undefined) {
      if (now[key] !== undefined) patch[key] = null;
      continue;
    }
    const restored = withSecrets(value, now[key]);
    if (restored === undefined) return undefined;
    // A merge patch merges objects: what is only there now has to be taken away.
    patch[key] = isObject(restored) ? withRemovals(restored, now[key]) : restored;
  }
  return patch;
}

/** The spec of then for the domain of now: a machine that was recovered since names its domain's UUID, which is the same. */
function withIdentity(then: DataObject, now: DataObject): DataObject {
  const [before, after] = [then['domain'], now['domain']];
  if (!isObject(after)) return then;
  const { uuid: _uuid, name: _name, ...rest } = isObject(before) ? before : {};
  const identity = Object.fromEntries(
    Object.entries(after).filter(([key, value]) => identityKeys.has(key) && value !== undefined),
  );
  return { ...then, domain: { ...identity, ...rest } };
}

const identityKeys: ReadonlySet<string> = new Set(['uuid', 'name']);

function compare(then: Data | undefined, now: Data | undefined, path: string, paths: string[]): void {
  if (then === notKept || isSame(then, now)) return;
  if (isObject(then) && isObject(now)) {
    for (const key of new Set([...Object.keys(then), ...Object.keys(now)])) {
      compare(then[key], now[key], `${path}.${key}`, paths);
    }
    return;
  }
  if (isList(then) && isList(now)) {
    for (let index = 0; index < Math.max(then.length, now.length); index += 1) {
      compare(then[index], now[index], `${path}[${index}]`, paths);
    }
    return;
  }
  paths.push(path);
}

function isSame(then: Data | undefined, now: Data | undefined): boolean {
  if (isEmpty(then) && isEmpty(now)) return true;
  return then === now;
}

/** A field that is left out and an empty one mean the same. */
function isEmpty(value: Data | undefined): boolean {
  return value === undefined || (isList(value) && value.length === 0);
}

function withSecrets(then: Data, now: Data | undefined): Data | undefined {
  if (then === notKept) return typeof now === 'string' ? now : undefined;
  if (isList(then)) {
    const list = then.map((entry, index) => withSecrets(entry, partner(entry, index, now)));
    return list.some((entry) => entry === undefined) ? undefined : list.filter((entry) => entry !== undefined);
  }
  if (!isObject(then)) return then;
  const out: Record<string, Data> = {};
  for (const [key, member] of Object.entries(then)) {
    if (member === undefined) continue;
    const value = withSecrets(member, isObject(now) ? now[key] : undefined);
    if (value === undefined) return undefined;
    out[key] = value;
  }
  return out;
}

/** The entry of the list as it is now that is the same one: by its name, else by its place. */
function partner(entry: Data, index: number, now: Data | undefined): Data | undefined {
  if (!isList(now)) return undefined;
  const name = isObject(entry) ? entry['name'] : undefined;
  if (typeof name !== 'string') return now[index];
  return now.find((one) => isObject(one) && one['name'] === name);
}

function withRemovals(then: DataObject, now: Data | undefined): DataObject {
  const out: Record<string, Data | undefined> = { ...then };
  for (const [key, member] of Object.entries(isObject(now) ? now : {})) {
    const value = then[key];
    if (value === undefined && member !== undefined) out[key] = null;
    else if (isObject(value)) out[key] = withRemovals(value, member);
  }
  return out;
}
