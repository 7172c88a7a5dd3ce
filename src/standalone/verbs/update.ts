import { isDeepStrictEqual } from 'node:util';
import { toKubernetesTime } from '../../base/clock.ts';
import { trackUpdate } from '../fields/managed-fields.ts';
import { ApiError, badRequest, conflict, invalid, modifiedMeanwhile, notFound } from '../http/api-error.ts';
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import { resourceKey } from '../kinds/resource-definition.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { textOf } from '../schema/json-schema.ts';
import { validate } from '../schema/validate.ts';
import { validateMetadata, validateMetadataUpdate } from '../schema/validate-metadata.ts';
import type { StoredObject } from '../storage/change.ts';
import type { ApiState, WriteOptions, Written } from './api-state.ts';
import {
  admissionReader,
  apiVersionOf,
  checkSize,
  decode,
  fullSchema,
  keyOf,
  metadataOf,
  storageDefinition,
  store,
} from './api-state.ts';

/** Which object is written, and through which subresource. */
export interface Target {
  readonly definition: ResourceDefinition;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

/** The stored object that the next write will meet. */
export function latest(state: ApiState, target: Target): StoredObject | undefined {
  const { definition, namespace, name } = target;
  return state.store.latest(resourceKey(definition), keyOf(definition, namespace, name));
}

/** @throws ApiError 404 when there is none. */
export function mustExist(state: ApiState, target: Target): StoredObject {
  const stored = latest(state, target);
  if (stored === undefined) throw notFound(target.definition, target.name);
  return stored;
}

/**
 * Replaces an object, or its status.
 *
 * @param next Decoded; it is changed.
 * @throws ApiError 404, 409 when it was changed meanwhile, 422.
 */
export async function updateObject(
  state: ApiState,
  target: Target,
  next: JsonObject,
  options: WriteOptions,
): Promise<Written> {
  const metadata = metadataOf(next);
  const { definition, name } = target;
  if ((metadata['name'] ?? '') === '') {
    throw badRequest(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
  }
  if (metadata['name'] !== name) {
    throw badRequest(
      `the name of the object (${String(metadata['name'])}) does not match the name on the URL (${name})`,
    );
  }
  if (definition.scope === 'Namespaced') {
    metadata['namespace'] ??= target.namespace;
    if (metadata['namespace'] !== target.namespace) {
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
    }
  }
  const stored = mustExist(state, target);
  checkVersion(target, metadata, stored);
  return await writeUpdate(state, target, decode(stored), next, options, false);
}

/** @throws ApiError 409 when what was written meanwhile is another, 422 for a custom resource that does not say what it replaces. */
export function checkVersion(target: Target, metadata: JsonObject, stored: StoredObject): void {
  const { definition, name } = target;
  const given = textOf(metadata['resourceVersion']);
  if (!/^\d*$/.test(given)) {
    throw new ApiError(500, '', `strconv.ParseUint: parsing ${JSON.stringify(given)}: invalid syntax`);
  }
  if ((metadata['uid'] ?? '') !== '' && metadata['uid'] !== stored.uid) {
    throw conflict(
      definition,
      name,
      `StorageError: invalid object, Code: 4, Key: ${stored.key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ${String(metadata['uid'])}, UID in object meta: ${stored.uid}`,
    );
  }
  if (given === '' || given === '0') {
    if (definition.builtIn === true) return;
    throw invalid({ ...definition, kind: definition.plural }, name, [
      {
        reason: 'FieldValueInvalid',
        message: 'Invalid value: 0x0: must be specified for an update',
        field: 'metadata.resourceVersion',
      },
    ]);
  }
  if (given !== String(stored.resourceVersion)) throw modifiedMeanwhile(definition, name);
}

/**
 * The part of every update and patch after the new object is known: what the server owns is kept, generation counted,
 * the object validated and written; one without change is not.
 *
 * @param applied Whether server-side apply has made managedFields already.
 */
export async function writeUpdate(
  state: ApiState,
  target: Target,
  old: JsonObject,
  next: JsonObject,
  options: WriteOptions,
  applied: boolean,
): Promise<Written> {
  const definition = storageDefinition(state, target.definition);
  const given = metadataOf(next)['managedFields'];
  keepServerOwned(definition, target.subresource, old, next);
  if (target.subresource === '') definition.prepare?.(next, old);
  countGeneration(definition, old, next);
  if (applied) metadataOf(next)['managedFields'] = given;
  else {
    const manager = {
      manager: options.fieldManager,
      operation: 'Update',
      apiVersion: apiVersionOf(target.definition),
      subresource: target.subresource,
      time: toKubernetesTime(state.now()),
    } as const;
    trackUpdate(old, next, fullSchema(definition), manager, given);
  }
  if (metadataOf(next)['managedFields'] === undefined) delete metadataOf(next)['managedFields'];
  checkUpdate(state, target, old, next, options);
  if (isDeepStrictEqual(old, next)) return { object: old, created: false };
  if (options.dryRun) return { object: next, created: false };
  if (isFinished(definition, next)) {
    await remove(state, definition, next);
    return { object: next, created: false };
  }
  await store(state, definition, next);
  return { object: next, created: false };
}

const serverOwned = [
  'uid',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'selfLink',
  'generation',
];

function keepServerOwned(definition: ResourceDefinition, subresource: string, old: JsonObject, next: JsonObject): void {
  if (subresource === 'status') {
    const { status } = next;
    const version = metadataOf(next)['resourceVersion'];
    for (const key of Object.keys(next)) if (!(key in old)) Reflect.deleteProperty(next, key);
    for (const [key, value] of Object.entries(old)) next[key] = value;
    next['metadata'] = { ...metadataOf(old), resourceVersion: version };
    if (status === undefined) delete next['status'];
    else next['status'] = status;
  } else if (definition.statusSubresource) {
    if (old['status'] === undefined) delete next['status'];
    else next['status'] = old['status'];
  }
  const before = metadataOf(old);
  const metadata = metadataOf(next);
  for (const key of serverOwned) {
    if (before[key] === undefined) Reflect.deleteProperty(metadata, key);
    else metadata[key] = before[key];
  }
  metadata['resourceVersion'] = before['resourceVersion'];
  for (const key of ['labels', 'annotations', 'finalizers', 'ownerReferences']) {
    const value = metadata[key];
    if (value === null || (typeof value === 'object' && Object.keys(value).length === 0))
      Reflect.deleteProperty(metadata, key);
  }
}

function countGeneration(definition: ResourceDefinition, old: JsonObject, next: JsonObject): void {
  if (definition.hasGeneration !== true) return;
  const ignored = definition.statusSubresource ? ['metadata', 'status'] : ['metadata'];
  const desired = (object: JsonObject): JsonObject =>
    Object.fromEntries(Object.entries(object).filter(([key]) => !ignored.includes(key)));
  if (isDeepStrictEqual(desired(old), desired(next))) return;
  metadataOf(next)['generation'] = Number(metadataOf(old)['generation'] ?? 0) + 1;
}

function checkUpdate(state: ApiState, target: Target, old: JsonObject, next: JsonObject, options: WriteOptions): void {
  const { subresource } = target;
  const definition = storageDefinition(state, target.definition);
  const metadata = metadataOf(next);
  const causes = [
    ...validateMetadata(metadata, { nameIsLabel: definition.nameIsLabel === true }),
    ...validateMetadataUpdate(metadata, metadataOf(old)),
    ...validate(next, definition.schema),
  ];
  const admitted =
    causes.length > 0 || definition.admit === undefined
      ? causes
      : definition.admit({
          operation: 'UPDATE',
          subresource,
          object: next,
          old,
          read: admissionReader(state),
          warn: (message) => options.warnings.push(message),
        });
  if (admitted.length > 0) throw invalid(definition, target.name, admitted);
  checkSize(next);
}

/** Whether an object that is being deleted has nothing left to wait for. */
function isFinished(definition: ResourceDefinition, object: JsonObject): boolean {
  const metadata = metadataOf(object);
  if (metadata['deletionTimestamp'] === undefined) return false;
  const waits = Array.isArray(metadata['finalizers']) && metadata['finalizers'].length > 0;
  if (waits) return false;
  if (definition.kind !== 'Namespace' || definition.group !== '') return true;
  const spec = object['spec'] as JsonObject | undefined;
  return !Array.isArray(spec?.['finalizers']) || spec['finalizers'].length === 0;
}

/** Removes an object from the store. */
export async function remove(state: ApiState, definition: ResourceDefinition, object: JsonObject): Promise<void> {
  const metadata = metadataOf(object);
  const key = keyOf(definition, textOf(metadata['namespace']), String(metadata['name']));
  await state.store.write({ resource: resourceKey(definition), key, object: undefined });
}
