import { isTolerated } from '../label-match.ts';
import type { Filter } from '../plugin.ts';

/** The taint that stands for spec.unschedulable, as on Kubernetes' nodes. */
export const cordonTaint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' } as const;

/** The node reports, is ready, and is not cordoned. */
export const availability: Filter = (machine) => {
  const toleratesCordon = isTolerated(cordonTaint, machine.spec.tolerations);
  return ({ traits }) => {
    if (traits.unschedulable && !toleratesCordon) return { reason: 'cordoned' };
    if (traits.notReady !== undefined) return { reason: traits.notReady };
    return traits.allocatable === undefined ? { reason: 'without a report of what it has' } : undefined;
  };
};
