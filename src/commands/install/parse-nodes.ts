import { hypervisorLabel, type NodeChoice } from './workloads.ts';
import { UsageError } from '../../base/errors.ts';
import { isLabelValue, isObjectName, isQualifiedName } from '../../cli/object-name.ts';

/**
 * The nodes that `--nodes` names: `a,b`, `rack=1`, `none`; those with our label when left out.
 *
 * @throws UsageError for what can be neither a name nor a label, which a server would refuse at the very end, or never.
 */
export function parseNodes(text: string | undefined): NodeChoice | undefined {
  if (text === undefined) return { labels: { [hypervisorLabel]: 'true' } };
  if (text === 'none') return undefined;
  const words = text.split(',').filter((word) => word !== '');
  if (words.length === 0) throw new UsageError('--nodes: expected names, labels, or none');
  if (!words.some((word) => word.includes('='))) {
    const wrong = words.find((word) => !isObjectName(word));
    if (wrong !== undefined) throw new UsageError(`--nodes ${text}: "${wrong}" cannot be the name of a node`);
    return { names: words };
  }
  const labels = words.map((word): [string, string] => {
    const [key = '', value, ...more] = word.split('=');
    if (value === undefined || more.length > 0 || !isQualifiedName(key) || !isLabelValue(value)) {
      throw new UsageError(`--nodes ${text}: expected names as a,b or labels as rack=1`);
    }
    return [key, value];
  });
  return { labels: Object.fromEntries(labels) };
}
