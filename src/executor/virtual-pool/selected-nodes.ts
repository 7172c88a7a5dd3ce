import type { StorageNode } from './storage-context.ts';
import type { LabelSelector } from '../../api/scheduling.ts';

/** Whether labels match a metav1.LabelSelector; everything matches none. */
export function matchesLabels(selector: LabelSelector | undefined, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) if (labels[key] !== value) return false;
  for (const { key, operator, values = [] } of selector?.matchExpressions ?? []) {
    const value = labels[key];
    const isIn = value !== undefined && values.includes(value);
    if (operator === 'In' && !isIn) return false;
    if (operator === 'NotIn' && isIn) return false;
    if (operator === 'Exists' && value === undefined) return false;
    if (operator === 'DoesNotExist' && value !== undefined) return false;
  }
  return true;
}

/** The names of the nodes that a selector takes, sorted. */
export function selectedNodes(selector: LabelSelector | undefined, nodes: readonly StorageNode[]): string[] {
  return nodes
    .filter(({ labels }) => matchesLabels(selector, labels))
    .map(({ name }) => name)
    .sort();
}
