import { FailedError } from '../../base/errors.ts';

/** A value together with where it stands. Offsets count UTF-16 units in the whole file's text. */
export type SourceNode = SourceMap | SourceList | SourceScalar;

/** An object. */
export interface SourceMap {
  readonly type: 'map';
  readonly offset: number;
  readonly entries: ReadonlyMap<string, SourceEntry>;
}

/** A list. */
export interface SourceList {
  readonly type: 'list';
  readonly offset: number;
  readonly items: readonly SourceNode[];
}

/** Everything else. */
export interface SourceScalar {
  readonly type: 'scalar';
  readonly offset: number;
  readonly value: string | number | boolean | null;
  /** What is written, when it is written without quotes: `on` for true. */
  readonly plain: string | undefined;
}

/** A key of an object and its value. */
export interface SourceEntry {
  readonly keyOffset: number;
  /** The key as written, when it is written without quotes: `y` for the key `true`. */
  readonly plainKey: string | undefined;
  readonly node: SourceNode;
}

/** The plain value of a node: new objects and arrays, nothing shared. */
export function toValue(node: SourceNode): unknown {
  switch (node.type) {
    case 'scalar':
      return node.value;
    case 'list':
      return node.items.map(toValue);
    case 'map': {
      const value: Record<string, unknown> = {};
      for (const [key, entry] of node.entries) {
        // Plain assignment to this one key would set the object's prototype and lose the entry.
        if (key === '__proto__') {
          Object.defineProperty(value, key, {
            value: toValue(entry.node),
            enumerable: true,
            configurable: true,
            writable: true,
          });
        } else {
          value[key] = toValue(entry.node);
        }
      }
      return value;
    }
    default:
      throw new FailedError('a source node has no other type');
  }
}

/** What a path leads to: the last node on the way that exists. */
export interface Found {
  readonly node: SourceNode;
  /** The entry that holds the node, when it is an object's. */
  readonly entry: SourceEntry | undefined;
  /** Whether the whole path exists, or only a part of it. */
  readonly complete: boolean;
}

/**
 * Follows a path as error messages write it (`spec.domain.devices.disk[0].driver`, `metadata.labels["a.b/c"]`). At each
 * object the longest key that fits is taken, so that keys with dots are found in either way of writing.
 */
export function find(root: SourceNode, path: string): Found {
  let node = root;
  let entry: SourceEntry | undefined;
  let rest = path;
  for (;;) {
    if (rest === '') return { node, entry, complete: true };
    if (node.type === 'list') {
      const match = /^\.?(?:\[(\d+)\]|(\d+))/.exec(rest);
      const item = match === null ? undefined : node.items[Number(match[1] ?? match[2])];
      if (match === null || item === undefined) return { node, entry, complete: false };
      rest = rest.slice(match[0].length);
      node = item;
      entry = undefined;
    } else if (node.type === 'map') {
      const step = longestKey(node, rest);
      if (step === undefined) return { node, entry, complete: false };
      rest = step.rest;
      entry = step.entry;
      node = entry.node;
    } else {
      return { node, entry, complete: false };
    }
  }
}

function longestKey(map: SourceMap, path: string): { entry: SourceEntry; rest: string } | undefined {
  const bare = path.startsWith('.') ? path.slice(1) : path;
  let best: { key: string; entry: SourceEntry; rest: string } | undefined;
  for (const [key, entry] of map.entries) {
    if (best !== undefined && best.key.length >= key.length) continue;
    const quoted = [`[${JSON.stringify(key)}]`, `['${key}']`, `[${key}]`].find((form) => bare.startsWith(form));
    const form = quoted ?? (bare.startsWith(key) ? key : undefined);
    if (form === undefined) continue;
    const rest = bare.slice(form.length);
    if (rest === '' || rest.startsWith('.') || rest.startsWith('[')) best = { key, entry, rest };
  }
  return best;
}
