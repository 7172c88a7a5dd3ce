import { trackUpdate } from '../fields/managed-fields.ts';
import { alreadyExists, ApiError, badRequest, forbidden, invalid, notFound } from '../http/api-error.ts';
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import { resourceKey } from '../kinds/resource-definition.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { textOf } from '../schema/json-schema.ts';
import { validate } from '../schema/validate.ts';
import { validateMetadata } from '../schema/validate-metadata.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import type { ApiState, WriteOptions, Written } from './api-state.ts';
import {
  admissionReader,
  apiVersionOf,
  checkSize,
  decode,
  fullSchema,
  keyOf,
  metadataOf,
  newUid,
  store,
} from './api-state.ts';

/** What a generated name's suffix is made of (k8s.io/apimachinery/pkg/util/rand). */
const suffixAlphabet = 'bcdfghjklmnpqrstvwxz2456789';
const suffixLength = 5;
const maxGeneratedBase = 63 - suffixLength;

/**
 * Creates an object.
 *
 * @param object Decoded by {@link decodeObject}; it is changed.
 * @throws ApiError 404 for a missing namespace, 403 for one that is going, 409 when the name is taken, 422 for an
 *   object that is not valid.
 */
export async function createObject(
  state: ApiState,
  definition: ResourceDefinition,
  namespace: string,
  object: JsonObject,
  options: WriteOptions,
): Promise<Written> {
  const metadata = metadataOf(object);
  if ((metadata['resourceVersion'] ?? '') !== '' && metadata['resourceVersion'] !== '0') {
    throw new ApiError(500, '', 'resourceVersion should not be set on objects to be created');
  }
  placeInNamespace(definition, metadata, namespace);
  if ((metadata['name'] ?? '') === '' && (metadata['generateName'] ?? '') !== '') {
    metadata['name'] = generateName(String(metadata['generateName']), state.random);
  }
  checkNamespace(state, definition, namespace, textOf(metadata['name']));
  initialise(state, definition, object, metadata);
  finishCreate(state, definition, object, options);
  const name = String(metadata['name']);
  const existing = state.store.latest(resourceKey(definition), keyOf(definition, namespace, name));
  if (existing !== undefined) {
    throw alreadyExists(definition, name, metadataOf(decode(existing))['deletionTimestamp'] !== undefined);
  }
  if (!options.dryRun) await store(state, definition, object);
  return { object, created: true };
}

function placeInNamespace(definition: ResourceDefinition, metadata: JsonObject, namespace: string): void {
  if (definition.scope === 'Cluster') {
    delete metadata['namespace'];
    return;
  }
  metadata['namespace'] ??= namespace;
  if (metadata['namespace'] === '') metadata['namespace'] = namespace;
  if (metadata['namespace'] !== namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
}

function generateName(base: string, random: () => number): string {
  let suffix = '';
  while (suffix.length < suffixLength) suffix += suffixAlphabet.charAt(Math.floor(random() * suffixAlphabet.length));
  return base.slice(0, maxGeneratedBase) + suffix;
}

/** Kubernetes' NamespaceLifecycle admission: nothing is made in a namespace that is missing or going. */
function checkNamespace(state: ApiState, definition: ResourceDefinition, namespace: string, name: string): void {
  if (definition.scope === 'Cluster') return;
  const stored = state.store.latest('namespaces', namespace);
  if (stored === undefined) throw notFound({ group: '', plural: 'namespaces', kind: 'Namespace' }, namespace);
  if (metadataOf(decode(stored))['deletionTimestamp'] === undefined) return;
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  throw forbidden(definition, name, why, [
    {
      reason: 'NamespaceTerminating',
      message: `namespace ${namespace} is being terminated`,
      field: 'metadata.namespace',
    },
  ]);
}

function initialise(state: ApiState, definition: ResourceDefinition, object: JsonObject, metadata: JsonObject): void {
  metadata['uid'] = newUid();
  metadata['creationTimestamp'] = toKubernetesTime(state.now());
  for (const key of ['deletionTimestamp', 'deletionGracePeriodSeconds', 'selfLink', 'resourceVersion', 'generation']) {
    Reflect.deleteProperty(metadata, key);
  }
  if (definition.hasGeneration === true) metadata['generation'] = 1;
  if (definition.statusSubresource) delete object['status'];
  definition.prepare?.(object, undefined);
}

/** Ownership, validation and size: the part that server-side apply of a new object shares. */
function finishCreate(
  state: ApiState,
  definition: ResourceDefinition,
  object: JsonObject,
  options: WriteOptions,
): void {
  const metadata = metadataOf(object);
  if (!appliedObjects.has(object)) {
    const manager = {
      manager: options.fieldManager,
      operation: 'Update',
      apiVersion: apiVersionOf(definition),
      subresource: '',
      time: toKubernetesTime(state.now()),
    } as const;
    trackUpdate(undefined, object, fullSchema(definition), manager, metadata['managedFields']);
  }
  const causes = [
    ...validateMetadata(metadata, { nameIsLabel: definition.nameIsLabel === true }),
    ...validate(object, definition.schema),
  ];
  const admitted =
    causes.length > 0 || definition.admit === undefined
      ? causes
      : definition.admit({
          operation: 'CREATE',
          subresource: '',
          object,
          old: undefined,
          read: admissionReader(state),
          warn: (message) => options.warnings.push(message),
        });
  if (admitted.length > 0) throw invalid(definition, textOf(metadata['name']), admitted);
  checkSize(object);
}

/** Objects whose managedFields were made by server-side apply. */
const appliedObjects = new WeakSet<JsonObject>();

/** Creates an object whose managedFields server-side apply has made. */
export function createApplied(
  state: ApiState,
  definition: ResourceDefinition,
  namespace: string,
  object: JsonObject,
  options: WriteOptions,
): Promise<Written> {
  appliedObjects.add(object);
  return createObject(state, definition, namespace, object, options);
}
