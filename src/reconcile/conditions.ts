import { toKubernetesTime } from '../base/clock.ts';

/** metav1.Condition. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly observedGeneration?: number | undefined;
  readonly lastTransitionTime?: string | undefined;
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
}

/** What a reconciler knows of a condition. */
export interface ConditionUpdate {
  readonly type: string;
  /** A boolean for `True` and `False`. */
  readonly status: boolean | 'Unknown';
  /** One word in CamelCase. */
  readonly reason: string;
  /** For people; at most 32 KiB are kept. */
  readonly message?: string | undefined;
  /** The object's `metadata.generation`. */
  readonly observedGeneration?: number | undefined;
}

const maxMessageLength = 32_768;

/**
 * Sets a condition as Kubernetes' API conventions ask: one per type, `lastTransitionTime` changes with `status` only.
 *
 * @param nowMs Wall-clock milliseconds.
 * @returns A new list; the same one when nothing changed, so that an unchanged status need not be written.
 */
export function setCondition<T extends Condition>(
  conditions: readonly T[] | undefined,
  update: ConditionUpdate,
  nowMs: number,
): readonly (
  T | (Required<Pick<Condition, 'type' | 'status' | 'lastTransitionTime' | 'reason'>> & { readonly message?: string })
)[] {
  const list = conditions ?? [];
  const before = list.find(({ type }) => type === update.type);
  const status = update.status === 'Unknown' ? 'Unknown' : update.status ? 'True' : 'False';
  const message = (update.message ?? '').slice(0, maxMessageLength);
  const after = {
    type: update.type,
    status,
    ...(update.observedGeneration === undefined ? {} : { observedGeneration: update.observedGeneration }),
    lastTransitionTime:
      before?.status === status && before.lastTransitionTime !== undefined
        ? before.lastTransitionTime
        : toKubernetesTime(nowMs),
    reason: update.reason,
    // Left out when there is nothing to say: kube-apiserver 1.20 takes an empty string for null, and refuses it.
    ...(message === '' ? {} : { message }),
  } as const;
  if (before === undefined) return [...list, after];
  const isSame =
    before.status === after.status &&
    before.reason === after.reason &&
    (before.message ?? '') === message &&
    before.observedGeneration === update.observedGeneration &&
    before.lastTransitionTime === after.lastTransitionTime;
  return isSame ? list : list.map((one) => (one === before ? after : one));
}

/** The condition of a type. */
export function findCondition<T extends Condition>(conditions: readonly T[] | undefined, type: string): T | undefined {
  return conditions?.find((one) => one.type === type);
}

/** Whether the condition of a type is there and `True`. */
export function isConditionTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}
