/** Kubernetes Events of pools, images and disks: told from what a write of their status changed. */
import type { StorageContext } from './storage-context.ts';
import type { Condition } from '../../reconcile/conditions.ts';
import type { KubeObject } from '../../kube/object.ts';

/** What became of an object, for people. */
export interface Change {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly note: string;
}

/** Reasons of what is merely on its way. */
const passing: ReadonlySet<string> = new Set([
  ...[
    'Pending',
    'Creating',
    'Downloading',
    'Converting',
    'WaitForUpload',
    'WaitForFirstConsumer',
    'Deleting',
    'Wiping',
  ],
  ...['WaitingForConsumer', 'NoNodes'],
]);

type Conditions = readonly Condition[] | undefined;

/** What the conditions tell that they did not tell before; figures in a message, which change all the time, do not count. */
export function changesOf(before: Conditions, after: Conditions): Change[] {
  return (after ?? []).flatMap((now): readonly Change[] => {
    const old = before?.find(({ type }) => type === now.type);
    const { type, status, reason = type, message = '' } = now;
    const isNews =
      old?.status !== status || old.reason !== now.reason || figureless(old.message) !== figureless(now.message);
    if (!isNews) return [];
    switch (type) {
      case 'Ready':
        if (status === 'True') return old?.status === 'True' ? [] : [{ type: 'Normal', reason, note: 'it is ready' }];
        if (passing.has(reason)) return message === '' ? [] : [{ type: 'Normal', reason, note: message }];
        return [{ type: 'Warning', reason, note: message === '' ? 'it is not ready' : message }];
      case 'Synchronized':
        if (status === 'False') return [{ type: 'Warning', reason, note: message }];
        return old?.status === 'False' ? [{ type: 'Normal', reason, note: 'it is as spec says again' }] : [];
      case 'InUse': {
        const word = message.startsWith('stop ') ? 'StopWaits' : 'DeletionWaits';
        return status === 'True' && message !== '' ? [{ type: 'Normal', reason: word, note: message }] : [];
      }
      case 'Resizing':
        return message === '' ? [] : [{ type: 'Warning', reason, note: message }];
      default:
        return [];
    }
  });
}

/**
 * Records what a write of status changed. Called once the write has succeeded, so that nothing is told twice.
 *
 * @param more What is told beside what the conditions say.
 */
export function tellChange(
  context: StorageContext,
  object: KubeObject,
  before: Conditions,
  after: Conditions,
  more: readonly Change[] = [],
): void {
  for (const change of [...changesOf(before, after), ...more]) {
    context.record({ regarding: object, action: 'Reconcile', ...change });
  }
}

function figureless(text: string | undefined): string {
  return (text ?? '').replace(/\d+/g, '#');
}
