import { refOf } from '../kube/object.ts';
import type { KubeObject } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isNotFound } from '../kube/status-error.ts';

/** Somebody asked for the object's deletion; it stays until its last finalizer is gone. */
export function isBeingDeleted(object: KubeObject): boolean {
  return typeof object.metadata.deletionTimestamp === 'string';
}

export function hasFinalizer(object: KubeObject, finalizer: string): boolean {
  return object.metadata.finalizers?.includes(finalizer) === true;
}

/**
 * Makes sure that an object has a finalizer. Do it before anything that has to be cleaned up.
 *
 * @param finalizer With a domain, such as `virtctl.dev/domain`.
 * @returns The object as it is now; the same one when it had the finalizer already.
 * @throws a ConflictError when the object was changed meanwhile: the next reconcile sees the change.
 */
export async function addFinalizer<T extends KubeObject>(
  client: ResourceClient<T>,
  object: T,
  finalizer: string,
  signal: AbortSignal,
): Promise<T> {
  if (hasFinalizer(object, finalizer)) return object;
  return writeFinalizers(client, object, [...(object.metadata.finalizers ?? []), finalizer], signal);
}

/**
 * Takes a finalizer away, after everything was cleaned up.
 *
 * @returns The object as it is now; undefined when it is gone.
 * @throws a ConflictError when the object was changed meanwhile.
 */
export async function removeFinalizer<T extends KubeObject>(
  client: ResourceClient<T>,
  object: T,
  finalizer: string,
  signal: AbortSignal,
): Promise<T | undefined> {
  if (!hasFinalizer(object, finalizer)) return object;
  const rest = (object.metadata.finalizers ?? []).filter((one) => one !== finalizer);
  try {
    return await writeFinalizers(client, object, rest, signal);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** A merge patch replaces lists whole, so the resourceVersion goes along: nobody else's finalizer gets lost. */
async function writeFinalizers<T extends KubeObject>(
  client: ResourceClient<T>,
  object: T,
  finalizers: readonly string[],
  signal: AbortSignal,
): Promise<T> {
  const { resourceVersion, uid } = object.metadata;
  return client.mergePatch(refOf(object), { metadata: { resourceVersion, uid, finalizers } }, { signal });
}
