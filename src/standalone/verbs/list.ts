import { ApiError, badRequest, expired, invalid } from '../http/api-error.ts';
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import { resourceKey } from '../kinds/resource-definition.ts';
import type { Selector, Values } from '../schema/selectors.ts';
import { parseFieldSelector, parseLabelSelector } from '../schema/selectors.ts';
import type { StoredObject } from '../storage/change.ts';
import type { ApiState } from './api-state.ts';
import { decodeContinue, encodeContinue } from './continue-token.ts';

/** Chooses objects by labels and fields. */
export interface Selection {
  readonly labels: Selector | undefined;
  readonly fields: Selector | undefined;
}

/** A list before it is written out. */
export interface Listed {
  readonly objects: readonly StoredObject[];
  readonly resourceVersion: number;
  readonly continue: string;
  /** How many are left, when nothing is selected and there are more. */
  readonly remaining: number | undefined;
}

const expiredContinue =
  'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.';

/** Reads labelSelector and fieldSelector. */
export function parseSelection(definition: ResourceDefinition, query: URLSearchParams): Selection {
  const supported = ['metadata.name', 'metadata.namespace', ...(definition.selectableFieldNames ?? [])];
  return {
    labels: parseLabelSelector(query.get('labelSelector') ?? ''),
    fields: parseFieldSelector(query.get('fieldSelector') ?? '', supported),
  };
}

export function isSelected(selection: Selection, object: StoredObject): boolean {
  if (selection.labels?.(object.labels) === false) return false;
  return selection.fields === undefined || selection.fields(fieldsOf(object));
}

function fieldsOf(object: StoredObject): Values {
  return { ...object.fields, 'metadata.name': object.name, 'metadata.namespace': object.namespace };
}

/** A resource version in a query: 0 and empty mean any. */
export function parseResourceVersion(query: URLSearchParams): number | undefined {
  const text = query.get('resourceVersion') ?? '';
  if (text === '') return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new ApiError(
    500,
    '',
    `resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
  );
}

/** @throws ApiError 400 for what is no 64-bit integer. */
export function parseInteger(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  const refuse = (why: string): Error => badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: ${why}`);
  if (!/^[-+]?\d+$/.test(text)) throw refuse('invalid syntax');
  if (BigInt.asIntN(64, BigInt(text.replace('+', ''))) !== BigInt(text.replace('+', '')))
    throw refuse('value out of range');
  return Number(text);
}

/** A flag in a query, as kube-apiserver takes it: what is there is true, but for `false` and `0`. */
export function parseFlag(query: URLSearchParams, name: string): boolean {
  const text = query.get(name);
  return text !== null && text !== '0' && text.toLowerCase() !== 'false';
}

/** A newer state was asked for than there is. */
function tooLarge(wanted: number, current: number): ApiError {
  const message = `Too large resource version: ${wanted}, current: ${current}`;
  return new ApiError(504, 'Timeout', `Timeout: ${message}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

/**
 * Lists objects in key order, in pages when a limit is given. All pages show the state of the first.
 *
 * @param namespace Empty for all namespaces.
 * @throws ApiError 400, 410 when a page's state is forgotten, 504 for a resource version that is not there yet.
 */
export function listObjects(
  state: ApiState,
  definition: ResourceDefinition,
  namespace: string,
  selection: Selection,
  query: URLSearchParams,
): Listed {
  const { store } = state;
  const resource = resourceKey(definition);
  const prefix = namespace === '' ? '' : `${namespace}/`;
  const limit = Math.max(0, parseInteger(query, 'limit') ?? 0);
  // Of no use to a list; but a client that gets it wrong wants to know.
  parseInteger(query, 'timeoutSeconds');
  const token = query.get('continue') ?? '';
  const given = parseResourceVersion(query);
  const match = query.get('resourceVersionMatch') ?? '';
  checkMatch(match, given, token);
  if (given !== undefined && given > store.revision) throw tooLarge(given, store.revision);
  let revision = match === 'Exact' && given !== undefined ? given : store.revision;
  let from = '';
  if (token !== '') {
    if (given !== undefined && given !== 0)
      throw badRequest('specifying resource version is not allowed when using continue');
    const decoded = decodeContinue(token);
    from = decoded.start;
    // -1 is the token of a list that goes on although its state is forgotten.
    revision = decoded.revision === -1 ? store.revision : decoded.revision;
  }
  const range = store.rangeAt(resource, revision, prefix, prefix > from ? prefix : from);
  if (range === undefined) {
    if (token === '') throw expired(`The resourceVersion for the provided list is too old.`);
    throw expired(expiredContinue, encodeContinue(-1, from));
  }
  return page(range, selection, limit, revision);
}

function checkMatch(match: string, given: number | undefined, token: string): void {
  if (match === '') return;
  const problem = (reason: string, message: string): ApiError =>
    invalid({ group: 'meta.k8s.io', plural: 'listoptions', kind: 'ListOptions' }, '', [
      { reason, message, field: 'resourceVersionMatch' },
    ]);
  const refuse = (rule: string): ApiError => problem('FieldValueForbidden', `Forbidden: ${rule}`);
  if (match !== 'Exact' && match !== 'NotOlderThan') {
    throw problem(
      'FieldValueNotSupported',
      `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan", ""`,
    );
  }
  if (token !== '') throw refuse('resourceVersionMatch is forbidden when continue is provided');
  if (given === undefined) throw refuse('resourceVersionMatch is forbidden unless resourceVersion is provided');
  if (match === 'Exact' && given === 0)
    throw refuse('resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
}

function page(range: Iterable<StoredObject>, selection: Selection, limit: number, revision: number): Listed {
  const selectsAll = selection.labels === undefined && selection.fields === undefined;
  const objects: StoredObject[] = [];
  let next: string | undefined;
  let remaining = 0;
  for (const object of range) {
    if (!selectsAll && !isSelected(selection, object)) continue;
    if (limit > 0 && objects.length === limit) {
      next ??= object.key;
      remaining++;
      if (!selectsAll) break;
    } else objects.push(object);
  }
  return {
    objects,
    resourceVersion: revision,
    continue: next === undefined ? '' : encodeContinue(revision, next),
    remaining: next !== undefined && selectsAll ? remaining : undefined,
  };
}
