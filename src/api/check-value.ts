import { nearestName } from '../model/nearest.ts';
import { validateDocument } from '../model/validate.ts';
import { describeValue, isRecord, joinPath, type Problems } from './problem.ts';
import { parseQuantity } from './quantity.ts';
import type { Node } from './schema.ts';

/**
 * Checks a value against a schema: types, words, limits, required members, duplicate keys of lists, and unknown members
 * with the nearest known name. libvirt's documents are checked by libvirt's schema.
 */
export function checkValue(node: Node, value: unknown, path: string, problems: Problems): void {
  switch (node.type) {
    case 'string':
      checkString(node, value, path, problems);
      return;
    case 'integer':
      checkInteger(node, value, path, problems);
      return;
    case 'boolean':
      if (typeof value !== 'boolean') problems.add(path, 'Invalid', expected('true or false', value));
      return;
    case 'quantity': {
      const amount = typeof value === 'string' || typeof value === 'number' ? parseQuantity(value) : undefined;
      if (amount === undefined || amount < 0 || (typeof value === 'number' && !Number.isInteger(value))) {
        problems.add(path, 'Invalid', expected('a quantity such as 10Gi', value));
      }
      return;
    }
    case 'list':
      checkList(node, value, path, problems);
      return;
    case 'map':
      if (!isRecord(value)) problems.add(path, 'Invalid', expected('an object', value));
      else for (const [key, item] of Object.entries(value)) checkValue(node.item, item, joinPath(path, key), problems);
      return;
    case 'object':
      checkObject(node, value, path, problems);
      return;
    case 'document':
      checkDocument(node, value, path, problems);
      return;
  }
}

type NodeOf<T extends Node['type']> = Extract<Node, { readonly type: T }>;

function checkString(node: NodeOf<'string'>, value: unknown, path: string, problems: Problems): void {
  if (node.words !== undefined) {
    if (typeof value === 'string' && node.words.includes(value)) return;
    const near = typeof value === 'string' ? nearestName(value, node.words) : undefined;
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    problems.add(path, 'NotSupported', `${expected(`one of ${node.words.join(', ')}`, value)}${hint}`);
    return;
  }
  if (typeof value !== 'string') {
    problems.add(path, 'Invalid', expected('a string', value));
    return;
  }
  const length = Array.from(value).length;
  if (node.minLength !== undefined && length < node.minLength) {
    problems.add(path, 'Invalid', node.minLength === 1 ? 'is empty' : `shorter than ${node.minLength} characters`);
  } else if (node.maxLength !== undefined && length > node.maxLength) {
    problems.add(path, 'TooLong', `${length} characters, at most ${node.maxLength}`);
  } else if (node.pattern !== undefined && !new RegExp(node.pattern, 'u').test(value)) {
    problems.add(path, 'Invalid', expected(node.expected ?? `a match of ${node.pattern}`, value));
  } else if (node.format === 'date-time' && Number.isNaN(Date.parse(value))) {
    problems.add(path, 'Invalid', expected('a time such as 2024-05-01T12:00:00Z', value));
  }
}

function checkInteger(node: NodeOf<'integer'>, value: unknown, path: string, problems: Problems): void {
  const min = node.min ?? (node.format === 'int32' ? -(2 ** 31) : Number.MIN_SAFE_INTEGER);
  const max = node.max ?? (node.format === 'int32' ? 2 ** 31 - 1 : Number.MAX_SAFE_INTEGER);
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return;
  const range =
    node.min === undefined && node.max === undefined
      ? 'an integer'
      : node.max === undefined
        ? `an integer of at least ${min}`
        : `an integer between ${min} and ${max}`;
  problems.add(path, 'Invalid', expected(range, value));
}

function checkList(node: NodeOf<'list'>, value: unknown, path: string, problems: Problems): void {
  if (!Array.isArray(value)) {
    problems.add(path, 'Invalid', expected('a list', value));
    return;
  }
  if (node.minItems !== undefined && value.length < node.minItems) {
    problems.add(path, 'Invalid', `${value.length} entries, at least ${node.minItems}`);
  }
  if (node.maxItems !== undefined && value.length > node.maxItems) {
    problems.add(path, 'TooLong', `${value.length} entries, at most ${node.maxItems}`);
    return;
  }
  const seen = new Map<string, number>();
  for (const [index, item] of (value as unknown[]).entries()) {
    const at = `${path}[${index}]`;
    checkValue(node.item, item, at, problems);
    const { keys } = node;
    if (keys === undefined || !isRecord(item)) continue;
    const identity = keys.map((key) => item[key]);
    const key = JSON.stringify(identity);
    const first = seen.get(key);
    if (first === undefined) seen.set(key, index);
    else if (identity.every((part) => part !== undefined)) {
      problems.add(
        joinPath(at, keys[0] ?? ''),
        'Duplicate',
        `${identity.map(describeValue).join(', ')} is the same as in ${path}[${first}]`,
      );
    }
  }
}

function checkObject(node: NodeOf<'object'>, value: unknown, path: string, problems: Problems): void {
  if (!isRecord(value)) {
    problems.add(path, 'Invalid', expected('an object', value));
    return;
  }
  for (const name of node.required) {
    if (value[name] === undefined || value[name] === null)
      problems.add(joinPath(path, name), 'Required', 'is required');
  }
  for (const [name, member] of Object.entries(value)) {
    const field = Object.hasOwn(node.fields, name) ? node.fields[name] : undefined;
    if (field === undefined) {
      const near = nearestName(name, Object.keys(node.fields));
      const hint = near === undefined ? '' : `; did you mean ${near}?`;
      problems.add(joinPath(path, name), 'NotSupported', `unknown key${hint}`);
    } else if (member !== undefined && member !== null) {
      // null is how JSON says that a member is left out; the API server drops it too.
      checkValue(field, member, joinPath(path, name), problems);
    }
  }
}

function checkDocument(node: NodeOf<'document'>, value: unknown, path: string, problems: Problems): void {
  // An element is checked inside the document it belongs to; the paths are the user's again afterwards.
  const whole = node.at.reduceRight<unknown>(
    (inner, key, index) => ({ [key]: index === node.at.length - 1 ? [inner] : inner }),
    value,
  );
  const prefix = node.at.length === 0 ? '' : `${node.at.join('.')}[0]`;
  for (const problem of validateDocument(node.document, whole)) {
    const rest = problem.path.slice(prefix.length);
    const own = rest === '' || rest.startsWith('.') || rest.startsWith('[') ? `${path}${rest}` : `${path}.${rest}`;
    problems.add(own, problem.message.startsWith('unknown key') ? 'NotSupported' : 'Invalid', problem.message);
  }
}

function expected(what: string, value: unknown): string {
  return `expected ${what}, found ${describeValue(value)}`;
}
