import { toKubernetesTime } from '../../base/clock.ts';
import type { Status } from '../http/api-error.ts';
import { badRequest, conflict, forbidden, invalid } from '../http/api-error.ts';
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { isJsonObject, textOf } from '../schema/json-schema.ts';
import type { StoredObject } from '../storage/change.ts';
import type { ApiState } from './api-state.ts';
import { admissionReader, decode, metadataOf, show, storageDefinition, store } from './api-state.ts';
import { parseInteger } from './list.ts';
import type { Target } from './update.ts';
import { mustExist, remove } from './update.ts';

/** What becomes of the objects that a deleted one owns. */
export type PropagationPolicy = 'Background' | 'Foreground' | 'Orphan';

/** The part of metav1.DeleteOptions that means something here. */
export interface DeleteOptions {
  readonly dryRun: boolean;
  readonly propagationPolicy?: PropagationPolicy;
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** Namespaces that Kubernetes does not let go either. */
const keptNamespaces = ['default', 'kube-system', 'kube-public'];

/**
 * Reads DeleteOptions from a body and from the query, which wins where both speak.
 *
 * @throws ApiError 400 or 422 for options that are not valid.
 */
export function parseDeleteOptions(body: unknown, query: URLSearchParams): DeleteOptions {
  if (body !== undefined && !isJsonObject(body)) throw badRequest('the body of a delete has to be DeleteOptions');
  const given = body ?? {};
  // Nothing here has a grace period; but a client that gets it wrong wants to know.
  parseInteger(query, 'gracePeriodSeconds');
  const preconditions = isJsonObject(given['preconditions']) ? given['preconditions'] : {};
  const policy = query.get('propagationPolicy') ?? given['propagationPolicy'];
  const orphan = query.get('orphanDependents') ?? given['orphanDependents'];
  if (policy !== undefined && orphan !== undefined) {
    throw refuse(
      'FieldValueInvalid',
      'propagationPolicy',
      `Invalid value: ${JSON.stringify(policy)}: orphanDependents and deletionPropagation cannot be both set`,
    );
  }
  if (policy !== undefined && policy !== 'Background' && policy !== 'Foreground' && policy !== 'Orphan') {
    throw refuse(
      'FieldValueNotSupported',
      'propagationPolicy',
      `Unsupported value: ${JSON.stringify(policy)}: supported values: "Foreground", "Background", "Orphan", "nil"`,
    );
  }
  const dryRun = query.getAll('dryRun').length > 0 ? query.getAll('dryRun') : (given['dryRun'] ?? []);
  if (!Array.isArray(dryRun) || dryRun.some((one) => one !== 'All')) {
    throw refuse(
      'FieldValueNotSupported',
      'dryRun',
      `Unsupported value: ${goStrings(dryRun)}: supported values: "All"`,
    );
  }
  const fromOrphan = orphan === undefined ? undefined : textOf(orphan) === 'true' ? 'Orphan' : 'Background';
  const propagationPolicy = policy ?? fromOrphan;
  return {
    dryRun: dryRun.length > 0,
    ...(propagationPolicy === undefined ? {} : { propagationPolicy }),
    ...(typeof preconditions['uid'] === 'string' ? { uid: preconditions['uid'] } : {}),
    ...(typeof preconditions['resourceVersion'] === 'string'
      ? { resourceVersion: preconditions['resourceVersion'] }
      : {}),
  };
}

function refuse(reason: string, field: string, message: string): Error {
  return invalid({ group: 'meta.k8s.io', plural: 'deleteoptions', kind: 'DeleteOptions' }, '', [
    { reason, message, field },
  ]);
}

/**
 * Deletes an object: at once when nothing holds it, else it is marked and goes when its finalizers are empty.
 *
 * @returns The Status of a deletion that is done, or the marked object.
 * @throws ApiError 403, 404, 409, 422.
 */
export async function deleteObject(
  state: ApiState,
  target: Target,
  options: DeleteOptions,
): Promise<Status | JsonObject> {
  const definition = storageDefinition(state, target.definition);
  const stored = mustExist(state, target);
  checkPreconditions(target, stored, options);
  const object = decode(stored);
  if (isNamespace(definition) && keptNamespaces.includes(target.name)) {
    throw forbidden(definition, target.name, 'this namespace may not be deleted');
  }
  const causes = definition.admit?.({
    operation: 'DELETE',
    subresource: '',
    object,
    old: object,
    read: admissionReader(state),
    warn: () => undefined,
  });
  if (causes !== undefined && causes.length > 0) throw invalid(definition, target.name, causes);
  const metadata = metadataOf(object);
  const before = Array.isArray(metadata['finalizers']) ? (metadata['finalizers'] as string[]) : [];
  const finalizers = finalizersFor(before, options.propagationPolicy);
  if (finalizers.length === 0 && !isNamespace(definition)) {
    if (!options.dryRun) await remove(state, definition, object);
    return deletedStatus(target.definition, stored);
  }
  const isMarked = metadata['deletionTimestamp'] !== undefined;
  if (isMarked && finalizers.join() === before.join()) {
    if (isNamespace(definition)) {
      throw conflict(
        definition,
        target.name,
        'The system is ensuring all content is removed from this namespace.  Upon completion, this namespace will automatically be purged by the system.',
      );
    }
    return show(target.definition, object);
  }
  if (finalizers.length > 0) metadata['finalizers'] = finalizers;
  else delete metadata['finalizers'];
  if (!isMarked) mark(state, definition, object);
  if (!options.dryRun) await store(state, definition, object);
  return show(target.definition, object);
}

function mark(state: ApiState, definition: ResourceDefinition, object: JsonObject): void {
  const metadata = metadataOf(object);
  metadata['deletionTimestamp'] = toKubernetesTime(state.now());
  if (isNamespace(definition))
    object['status'] = { ...(object['status'] as JsonObject | undefined), phase: 'Terminating' };
  else metadata['deletionGracePeriodSeconds'] = 0;
  if (metadata['generation'] !== undefined) metadata['generation'] = Number(metadata['generation']) + 1;
}

function finalizersFor(before: readonly string[], policy: PropagationPolicy | undefined): string[] {
  if (policy === undefined) return [...before];
  const others = before.filter((finalizer) => finalizer !== 'orphan' && finalizer !== 'foregroundDeletion');
  if (policy === 'Orphan') return [...others, 'orphan'];
  return policy === 'Foreground' ? [...others, 'foregroundDeletion'] : others;
}

function checkPreconditions(target: Target, stored: StoredObject, options: DeleteOptions): void {
  const { definition, name } = target;
  const refuse = (what: string, given: string, found: string, why: string): Error =>
    conflict(
      { ...definition, plural: definition.kind },
      name,
      `the ${what} in the precondition (${given}) does not match the ${what} in record (${found}). ${why}`,
    );
  if (options.uid !== undefined && options.uid !== stored.uid) {
    throw refuse('UID', options.uid, stored.uid, 'The object might have been deleted and then recreated');
  }
  const version = String(stored.resourceVersion);
  if (options.resourceVersion !== undefined && options.resourceVersion !== version) {
    throw refuse('ResourceVersion', options.resourceVersion, version, 'The object might have been modified');
  }
}

/** A list of strings as Go prints it. */
export function goStrings(values: unknown): string {
  const list = Array.isArray(values) ? (values as unknown[]) : [values];
  return `[]string{${list.map((value) => JSON.stringify(value)).join(', ')}}`;
}

export function isNamespace(definition: ResourceDefinition): boolean {
  return definition.group === '' && definition.kind === 'Namespace';
}

function deletedStatus(definition: ResourceDefinition, stored: StoredObject): Status {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: {
      name: stored.name,
      ...(definition.group === '' ? {} : { group: definition.group }),
      kind: definition.plural,
      uid: stored.uid,
    },
  };
}
