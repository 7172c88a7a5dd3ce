import { isRecord } from '../../api/problem.ts';
import type { FieldChange } from '../../api/virtual-machine.ts';
import type { KubeObject } from '../../kube/object.ts';

/** Longer values are cut off. */
const maxText = 512;

/**
 * The fields that differ between two versions of an object: labels, annotations and everything outside of metadata and
 * status. Entries of lists are matched by `name` where all have one, else by their place. Values are JSON.
 *
 * @param before Undefined for an object that is new: then nothing differs.
 */
export function objectChanges(before: KubeObject | undefined, after: KubeObject): FieldChange[] {
  const changes: FieldChange[] = [];
  if (before !== undefined) compare(content(before), content(after), '', changes);
  return changes;
}

function content({ metadata, ...rest }: KubeObject): Readonly<Record<string, unknown>> {
  const { status: _status, ...own } = rest as { readonly status?: unknown };
  const { labels, annotations } = metadata;
  return { ...own, metadata: { labels, annotations } };
}

function compare(before: unknown, after: unknown, path: string, out: FieldChange[]): void {
  if (before === after) return;
  if (isRecord(before) && isRecord(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      compare(before[key], after[key], path === '' ? key : `${path}.${key}`, out);
    }
    return;
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    compareLists(before, after, path, out);
    return;
  }
  out.push({ path, ...text('from', before), ...text('to', after) });
}

function compareLists(before: readonly unknown[], after: readonly unknown[], path: string, out: FieldChange[]): void {
  const [old, now] = [byName(before), byName(after)];
  if (old !== undefined && now !== undefined) {
    for (const name of new Set([...old.keys(), ...now.keys()])) {
      compare(old.get(name), now.get(name), `${path}[${name}]`, out);
    }
    return;
  }
  for (let index = 0; index < Math.max(before.length, after.length); index += 1) {
    compare(before[index], after[index], `${path}[${index}]`, out);
  }
}

/** Undefined where not every entry has a name of its own. */
function byName(list: readonly unknown[]): Map<string, unknown> | undefined {
  const names = list.map((entry) => (isRecord(entry) && typeof entry['name'] === 'string' ? entry['name'] : undefined));
  if (names.includes(undefined) || new Set(names).size < names.length) return undefined;
  return new Map(list.map((entry, index) => [names[index] ?? '', entry]));
}

function text<Key extends 'from' | 'to'>(key: Key, value: unknown): { [K in Key]?: string } {
  if (value === undefined) return {};
  const json = JSON.stringify(value);
  return { [key]: json.length > maxText ? `${json.slice(0, maxText - 3)}...` : json } as { [K in Key]?: string };
}
