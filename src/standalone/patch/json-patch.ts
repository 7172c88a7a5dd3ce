import { isDeepStrictEqual } from 'node:util';
import { ApiError, badRequest } from '../http/api-error.ts';
import { isJsonObject, setField } from '../schema/json-schema.ts';

/** More operations than this are refused, as kube-apiserver does. */
const maxOperations = 10_000;

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

/**
 * Applies a JSON patch (RFC 6902) to a copy of `document`.
 *
 * @throws ApiError 400 for a patch that is none, 422 for one that does not apply.
 */
export function applyJsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest('json: cannot unmarshal object into Go value of type jsonpatch.Patch');
  if (patch.length > maxOperations) {
    throw new ApiError(
      413,
      'RequestEntityTooLarge',
      `The allowed maximum operations in a JSON patch is ${maxOperations}, got ${patch.length}`,
    );
  }
  return (patch as unknown[]).reduce(
    (current, operation) => applyOperation(current, operationOf(operation)),
    structuredClone(document),
  );
}

function operationOf(value: unknown): Operation {
  if (!isJsonObject(value) || typeof value['op'] !== 'string' || typeof value['path'] !== 'string') {
    throw badRequest('error decoding patch: an operation needs "op" and "path"');
  }
  return value as unknown as Operation;
}

function refuse(message: string): ApiError {
  return new ApiError(422, 'Invalid', 'the server rejected our request due to an error in our request', {
    causes: [{ reason: 'JSONPatchFailed', message }],
  });
}

function applyOperation(document: unknown, operation: Operation): unknown {
  const { op, path } = operation;
  switch (op) {
    case 'add':
      return change(document, path, (parent, key) => insert(parent, key, operation.value, path), operation.value);
    case 'replace':
      read(document, path);
      return change(document, path, (parent, key) => assign(parent, key, operation.value, path), operation.value);
    case 'remove':
      read(document, path);
      return change(document, path, remove, undefined);
    case 'move': {
      const moved = read(document, operation.from ?? '');
      const without = change(document, operation.from ?? '', remove, undefined);
      return change(without, path, (parent, key) => insert(parent, key, moved, path), moved);
    }
    case 'copy': {
      const copied = structuredClone(read(document, operation.from ?? ''));
      return change(document, path, (parent, key) => insert(parent, key, copied, path), copied);
    }
    case 'test':
      if (
        !isDeepStrictEqual(
          operation.value === null ? readOrNull(document, path) : read(document, path),
          operation.value,
        )
      ) {
        throw refuse(`testing value ${path} failed: test failed`);
      }
      return document;
    default:
      throw refuse(`Unexpected kind: ${op}`);
  }
}

function keysOf(path: string): string[] {
  if (path === '') return [];
  if (!path.startsWith('/')) throw refuse(`the path ${JSON.stringify(path)} does not start with /`);
  return path
    .slice(1)
    .split('/')
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function child(parent: unknown, key: string): unknown {
  if (Array.isArray(parent)) return /^(0|[1-9]\d*)$/.test(key) ? (parent[Number(key)] as unknown) : undefined;
  return isJsonObject(parent) && Object.hasOwn(parent, key) ? parent[key] : undefined;
}

function read(document: unknown, path: string): unknown {
  const value = keysOf(path).reduce<unknown>(child, document);
  if (value === undefined) throw refuse(`the path ${path} does not exist`);
  return value;
}

/** As kube-apiserver, and unlike RFC 6902: a field that is not there is null to a test. */
function readOrNull(document: unknown, path: string): unknown {
  const keys = keysOf(path);
  const last = keys.pop();
  const parent = keys.reduce<unknown>(child, document);
  if (last === undefined || !isJsonObject(parent)) return read(document, path);
  return child(parent, last) ?? null;
}

type Change = (parent: unknown[] | Record<string, unknown>, key: string) => void;

function change(document: unknown, path: string, apply: Change, whole: unknown): unknown {
  const keys = keysOf(path);
  const last = keys.pop();
  if (last === undefined) return whole;
  const parent = keys.reduce<unknown>(child, document);
  if (!Array.isArray(parent) && !isJsonObject(parent)) throw refuse(`the path ${path} does not exist`);
  apply(parent, last);
  return document;
}

function indexOf(list: readonly unknown[], key: string, max: number, path: string): number {
  if (!/^(0|[1-9]\d*)$/.test(key) || Number(key) > max)
    throw refuse(`${path}: no such index in a list of ${list.length}`);
  return Number(key);
}

function insert(parent: unknown[] | Record<string, unknown>, key: string, value: unknown, path: string): void {
  if (!Array.isArray(parent)) setField(parent, key, value);
  else if (key === '-') parent.push(value);
  else parent.splice(indexOf(parent, key, parent.length, path), 0, value);
}

function assign(parent: unknown[] | Record<string, unknown>, key: string, value: unknown, path: string): void {
  if (Array.isArray(parent)) parent[indexOf(parent, key, parent.length - 1, path)] = value;
  else setField(parent, key, value);
}

function remove(parent: unknown[] | Record<string, unknown>, key: string): void {
  if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else Reflect.deleteProperty(parent, key);
}
