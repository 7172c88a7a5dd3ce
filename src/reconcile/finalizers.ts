/**
 * Finalizers: what keeps an object until everything of it was cleaned up.
 *
 * Writing them needs the right to write the whole object. Who may only write its status (an executor that was installed
 * with the least rights) asks for them there, and the controller (src/controller/finalizer-keeper.ts) writes them:
 *
 *   condition Hold=True, reason Requested, message FINALIZER     the finalizer is to be added
 *   condition Hold=False, reason Released, message FINALIZER     it may go
 */
import { setCondition, type Condition } from './conditions.ts';
import { systemClock } from '../base/clock.ts';
import { FailedError, ForbiddenError } from '../base/errors.ts';
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
  try {
    return await writeFinalizers(client, object, [...(object.metadata.finalizers ?? []), finalizer], signal);
  } catch (error) {
    if (!(error instanceof ForbiddenError)) throw error;
  }
  await ask(client, object, finalizer, true, signal);
  // The controller answers at once; where none runs, the next reconcile looks again.
  for (let waitMs = 20; waitMs < 2_000; waitMs *= 2) {
    await systemClock.sleep(waitMs, signal);
    const now = await client.get(refOf(object), { signal });
    if (now.metadata.uid !== object.metadata.uid || hasFinalizer(now, finalizer)) return now;
  }
  throw new FailedError(`${object.kind} ${object.metadata.name ?? ''} has no finalizer ${finalizer} yet`, {
    hint: 'a virtctl controller gives it to objects whose executor may not',
  });
}

/** The finalizer that an object's Hold condition is about, and whether it is wanted; undefined where there is none. */
export function askedFinalizer(
  object: KubeObject,
): { readonly finalizer: string; readonly isWanted: boolean } | undefined {
  const hold = conditionsOf(object).find(({ type }) => type === holdCondition);
  if (hold?.message === undefined || hold.message === '') return undefined;
  return { finalizer: hold.message, isWanted: hold.status === 'True' };
}

const holdCondition = 'Hold';

async function ask<T extends KubeObject>(
  client: ResourceClient<T>,
  object: T,
  finalizer: string,
  isWanted: boolean,
  signal: AbortSignal,
): Promise<T> {
  const asked = askedFinalizer(object);
  if (asked?.finalizer === finalizer && asked.isWanted === isWanted) return object;
  const { resourceVersion, uid, generation } = object.metadata;
  const conditions = setCondition(
    conditionsOf(object),
    {
      type: holdCondition,
      status: isWanted,
      reason: isWanted ? 'Requested' : 'Released',
      message: finalizer,
      observedGeneration: generation,
    },
    systemClock.now(),
  );
  const patch = { metadata: { resourceVersion, uid }, status: { conditions } };
  return client.mergePatch(refOf(object), patch, { subresource: 'status', signal });
}

function conditionsOf(object: KubeObject): readonly Condition[] {
  const { status } = object as KubeObject & { readonly status?: { readonly conditions?: readonly Condition[] } };
  return status?.conditions ?? [];
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
    if (error instanceof ForbiddenError) return ask(client, object, finalizer, false, signal);
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
