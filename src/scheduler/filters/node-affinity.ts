import { matchesNodeTerm } from '../label-match.ts';
import type { Filter } from '../plugin.ts';

/** nodeSelector and the required node affinity. */
export const nodeAffinity: Filter = ({ spec }) => {
  const selector = Object.entries(spec.nodeSelector ?? {});
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (selector.length === 0 && required === undefined) return undefined;
  return ({ traits, name }) => {
    const missing = selector.find(([key, value]) => traits.labels[key] !== value);
    if (missing !== undefined) return { reason: `without the label ${missing.join('=')}` };
    if (required === undefined) return undefined;
    const fits = required.nodeSelectorTerms.some((term) => matchesNodeTerm(term, traits.labels, name));
    return fits ? undefined : { reason: 'not matching the node affinity' };
  };
};
