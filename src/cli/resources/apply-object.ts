import { applicable } from './applicable.ts';
import type { KubeObject } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { isConflict, statusOf } from '../../kube/status-error.ts';

/** How to apply. */
export interface ApplyObjectOptions {
  readonly dryRun: boolean;
  /** Whether to take over fields that somebody else has set. */
  readonly force: boolean;
  readonly fieldManager: string;
  readonly signal: AbortSignal;
}

/** An object that changes this often meanwhile (its status does) is left alone. */
const maxAttempts = 10;

/**
 * Applies an object on the server's side. Fields that the same manager wrote by other means (`create`, `set`, `edit`) are
 * taken over: whoever made a machine with virtctl may go on with a file. What anybody else has set stays a conflict.
 *
 * @returns The object as it was, if it was there, and as it is.
 * @throws an error of kube/status-error.ts, for which `isConflict` holds where somebody else has set a field, with a hint.
 */
export async function applyObject(
  resources: ResourceClient<KubeObject>,
  ref: { readonly namespace: string | undefined; readonly name: string },
  object: KubeObject,
  { dryRun, force, fieldManager, signal }: ApplyObjectOptions,
): Promise<{ readonly before: KubeObject | undefined; readonly after: KubeObject }> {
  const options = { dryRun, fieldManager, fieldValidation: 'Strict', signal } as const;
  const wanted = applicable(object);
  for (let attempt = 1; ; attempt += 1) {
    const before = await resources.find(ref, { signal });
    try {
      return { before, after: await resources.apply(wanted, { ...options, force }) };
    } catch (error) {
      if (!isConflict(error) || before === undefined || !isWithOurselves(error, fieldManager)) throw withHint(error);
    }
    try {
      // Only as it was when nobody else was in the way.
      const { resourceVersion } = before.metadata;
      const locked = { ...wanted, metadata: { ...wanted.metadata, resourceVersion } };
      return { before, after: await resources.apply(locked, { ...options, force: true }) };
    } catch (error) {
      if (!isConflict(error) || attempt >= maxAttempts) throw withHint(error);
    }
  }
}

/** Whether every field in the way was set by the same manager, with an update instead of an apply. */
function isWithOurselves(error: unknown, fieldManager: string): boolean {
  const causes = statusOf(error)?.causes ?? [];
  const ours = `conflict with "${fieldManager}"`;
  return (
    causes.length > 0 && causes.every(({ message = '' }) => message === ours || message.startsWith(`${ours} using `))
  );
}

function withHint(error: unknown): unknown {
  // The server names the fields and their managers; what to do about it is ours to say.
  return isConflict(error)
    ? Object.assign(error as object, { hint: 'leave these fields out, or take them over with --force-conflicts' })
    : error;
}
