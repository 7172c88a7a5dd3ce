import { matchesSelector } from '../label-match.ts';
import type { Filter, NodeTest } from '../plugin.ts';

/** The networks and bridges that a machine is plugged into are on the node. */
export const networks: Filter = ({ spec, namespace }, { surroundings }) => {
  const tests: NodeTest[] = [];
  for (const { virtualNetwork, bridge } of spec.interfaces ?? []) {
    if (virtualNetwork !== undefined) {
      const network = surroundings.network(namespace, virtualNetwork);
      const what = `VirtualNetwork "${virtualNetwork}"`;
      if (network === undefined) tests.push(() => ({ reason: `that would do once ${what} exists` }));
      else if (network.spec.nodeSelector !== undefined) {
        const { nodeSelector } = network.spec;
        tests.push(({ traits }) =>
          matchesSelector(nodeSelector, traits.labels) ? undefined : { reason: `without ${what}` },
        );
      }
    } else if (bridge !== undefined) tests.push(hasBridge(bridge));
  }
  for (const { type, source } of spec.domain?.devices?.interface ?? []) {
    if (type === 'bridge' && source?.bridge !== undefined) tests.push(hasBridge(source.bridge));
    if (type !== 'network' || source?.network === undefined) continue;
    const name = source.network;
    tests.push(({ traits }) =>
      traits.networks?.has(name) === false ? { reason: `without the network ${name}` } : undefined,
    );
  }
  if (tests.length === 0) return undefined;
  return (node) => {
    for (const test of tests) {
      const failure = test(node);
      if (failure !== undefined) return failure;
    }
    return undefined;
  };
};

const hasBridge =
  (name: string): NodeTest =>
  ({ traits }) =>
    traits.bridges?.has(name) === false ? { reason: `without the bridge ${name}` } : undefined;
