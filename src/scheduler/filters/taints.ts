import { isTolerated } from '../label-match.ts';
import type { Filter } from '../plugin.ts';

/** Every taint with NoSchedule or NoExecute is tolerated. */
export const taints: Filter =
  ({ spec }) =>
  ({ traits }) => {
    const taint = traits.taints.find((one) => one.effect !== 'PreferNoSchedule' && !isTolerated(one, spec.tolerations));
    if (taint === undefined) return undefined;
    const value = (taint.value ?? '') === '' ? '' : `=${taint.value ?? ''}`;
    return { reason: `tainted ${taint.key}${value}:${taint.effect}` };
  };
