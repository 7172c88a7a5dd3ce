import { allFilters } from './filters/all-filters.ts';
import type { MachineInfo } from './machine-info.ts';
import type { NodeInfo } from './node-info.ts';
import type { Failure, Filter, NodeTest, Score } from './plugin.ts';
import { allScores } from './scores/all-scores.ts';
import type { Snapshot } from './snapshot.ts';

/** What came of looking for a node. */
export type Selection =
  | { readonly node: NodeInfo; readonly nextStart: number }
  | { readonly node: undefined; readonly failures: ReadonlyMap<NodeInfo, Failure> };

/** Options of {@link selectNode}. */
export interface SelectOptions {
  /** Where among the nodes to begin looking, so that all get their turn. */
  readonly start?: number;
  /** The search ends after this many nodes that will do: enough to choose from, as in kube-scheduler. */
  readonly enough?: number;
  readonly filters?: readonly Filter[];
  readonly scores?: readonly Score[];
}

/** Nodes that will do, of which the best is taken. */
const defaultEnough = 100;

/** All filters of a machine as one test. */
export function prepareTest(
  machine: MachineInfo,
  snapshot: Snapshot,
  filters: readonly Filter[] = allFilters,
): NodeTest {
  const tests: NodeTest[] = [];
  for (const filter of filters) {
    const test = filter(machine, snapshot);
    if (test !== undefined) tests.push(test);
  }
  return (node) => {
    for (const test of tests) {
      const failure = test(node);
      if (failure !== undefined) return failure;
    }
    return undefined;
  };
}

/** Finds the best node for a machine. Pure: the same snapshot and options give the same answer. */
export function selectNode(machine: MachineInfo, snapshot: Snapshot, options: SelectOptions = {}): Selection {
  const { start = 0, enough = defaultEnough, filters = allFilters, scores = allScores } = options;
  const nodes = snapshot.list();
  const test = prepareTest(machine, snapshot, filters);
  const fitting: NodeInfo[] = [];
  const failures = new Map<NodeInfo, Failure>();
  const judge = (node: NodeInfo): void => {
    const failure = test(node);
    if (failure === undefined) fitting.push(node);
    else failures.set(node, failure);
  };
  // A place that is kept for it is always looked at.
  const reserved = new Set(snapshot.reservationsOf(machine.uid));
  for (const name of reserved) {
    const node = snapshot.nodes.get(name);
    if (node !== undefined) judge(node);
  }
  let looked = 0;
  for (; looked < nodes.length && fitting.length < enough; looked += 1) {
    const node = nodes[(start + looked) % nodes.length];
    if (node !== undefined && !reserved.has(node.name)) judge(node);
  }
  if (fitting.length === 0) return { node: undefined, failures };
  const ratings = scores.flatMap(({ weight, prepare }) => {
    const rate = prepare(machine, snapshot);
    return rate === undefined ? [] : [{ weight, rate }];
  });
  let best: NodeInfo | undefined;
  let bestScore = -Infinity;
  for (const node of fitting) {
    let score = 0;
    for (const { weight, rate } of ratings) score += weight * rate(node);
    if (score > bestScore) [best, bestScore] = [node, score];
  }
  if (best === undefined) return { node: undefined, failures };
  return { node: best, nextStart: nodes.length === 0 ? 0 : (start + looked) % nodes.length };
}
