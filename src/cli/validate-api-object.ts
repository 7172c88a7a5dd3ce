import { headProblems, metadataProblems } from './object-problems.ts';
import type { ObjectDocument } from './input/source-document.ts';
import type { Lookup } from '../api/lookup.ts';
import { validateObject } from '../api/validate.ts';
import { InvalidInputError } from '../base/errors.ts';
import { nearestName } from '../model/nearest.ts';

/** What a valid document is. */
export interface Valid {
  /** For people: `VirtualMachine web`, `domain web`. */
  readonly name: string;
  /** What is worth knowing, each one line with its place. */
  readonly warnings: readonly string[];
  /** Of another API group: nobody here knows what is valid. */
  readonly foreign: boolean;
}

type Values = Readonly<Record<string, unknown>>;

/** Whether a value is an object of the API, of ours or another group. */
export function isApiObject(value: unknown): value is Values {
  return isObject(value) && ('apiVersion' in value || (typeof value['kind'] === 'string' && 'metadata' in value));
}

/**
 * Checks an object of the API by the schemas and rules of our kinds; of another group nothing is known. Apart from
 * validate-input.ts, so that what only writes objects need not load the XML side.
 *
 * @param lookup What other objects there are; without it nothing about them is checked.
 * @throws InvalidInputError with every problem and its place.
 */
export function validateApiObject(document: ObjectDocument, object: Values, lookup?: Lookup): Valid {
  const { apiVersion: version, kind } = object;
  const named = `${String(kind)} ${nameOf(object)}`;
  const group = typeof version === 'string' ? (version.split('/')[0] ?? '') : '';
  if (typeof version === 'string' && typeof kind === 'string' && group !== 'virtctl.dev') {
    const near = nearestName(group, ['virtctl.dev']);
    if (near === undefined) return { name: named, warnings: [], foreign: true };
  }
  const head = headProblems(object);
  const found = head.length > 0 ? [] : validateObject(object, { lookup });
  const errors = [...head, ...found.filter(({ severity }) => severity === 'error'), ...metadataProblems(object)];
  if (errors.length > 0) throw new InvalidInputError(document.problems(errors));
  const warnings = document.problems(found).map(({ line, column, path, message }) => {
    return `${document.file}:${line ?? 0}:${column ?? 0}: ${path}: ${message}`;
  });
  return { name: named, warnings, foreign: false };
}

function nameOf({ metadata }: Values): string {
  const name = isObject(metadata) ? metadata['name'] : undefined;
  return typeof name === 'string' ? name : '(without a name)';
}

function isObject(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
