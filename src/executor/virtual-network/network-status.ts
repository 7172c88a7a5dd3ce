/**
 * The status of a VirtualNetwork: each executor writes the line of its node, and what follows from all lines. Pure.
 */
import { namesOf } from '../virtual-pool/names-of.ts';
import { mergePatchOf } from '../status-patch.ts';
import {
  virtualNetworkReasons as reasons,
  type VirtualNetwork,
  type VirtualNetworkStatus,
} from '../../api/virtual-network.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { setCondition } from '../../reconcile/conditions.ts';

/** What status says of one node. */
export type NodeLine = NonNullable<VirtualNetworkStatus['nodes']>[number];

/** What {@link networkStatus} is made of. */
export interface StatusFacts {
  readonly nodeName: string;
  /** The node's line; undefined when it has left. */
  readonly line: NodeLine | undefined;
  /** The nodes that are selected. */
  readonly selected: readonly string[];
  /** What its deletion waits for. */
  readonly waitsFor: readonly string[];
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

/** The status with the node's line put in. */
export function networkStatus(object: VirtualNetwork, facts: StatusFacts): VirtualNetworkStatus {
  const { nodeName, line, selected, waitsFor, nowMs } = facts;
  const before = object.status ?? {};
  const observedGeneration = object.metadata.generation;
  const old = before.nodes?.find((one) => one.nodeName === nodeName);
  const isSame = old !== undefined && line !== undefined && mergePatchOf(undated(old), undated(line)) === undefined;
  const dated = line === undefined ? [] : [{ ...line, lastUpdateTime: toKubernetesTime(nowMs) }];
  const nodes = [...(before.nodes ?? []).filter((one) => one.nodeName !== nodeName), ...(isSame ? [old] : dated)].sort(
    (a, b) => (a.nodeName < b.nodeName ? -1 : 1),
  );
  const wanted = object.spec.active === false ? 'Inactive' : 'Active';
  const ready = nodes.filter((one) => one.state === wanted && one.message === undefined);
  const failed = nodes.find((one) => one.message !== undefined);
  const isReady = ready.length > 0 && selected.every((name) => ready.some((one) => one.nodeName === name));
  const perNode = (member: 'restartRequired' | 'drift' | 'ignored', tell: (one: NodeLine) => string): string =>
    nodes
      .filter((one) => (one[member] ?? []).length > 0)
      .map((one) => `${one.nodeName}: ${tell(one)}`)
      .join('; ');
  const drifted = perNode('drift', (one) => `${(one.drift ?? []).join(', ')} changed behind our back`);
  const ignored = perNode('ignored', (one) => `libvirt did not keep ${(one.ignored ?? []).join(', ')}`);
  const pending = perNode('restartRequired', ({ restartRequired = [], attached = [] }) =>
    [restartRequired.join(', '), attached.length === 0 ? '' : `attached: ${namesOf(attached)}`]
      .filter((part) => part !== '')
      .join('; '),
  );
  const updates = [
    {
      type: 'Ready',
      status: isReady,
      reason: isReady
        ? wanted === 'Active'
          ? reasons.Running
          : reasons.Stopped
        : (failed?.reason ?? (selected.length === 0 ? reasons.NoNodes : reasons.NotOnAllNodes)),
      message:
        failed !== undefined
          ? `${failed.nodeName}: ${failed.message ?? ''}`
          : selected.length === 0
            ? 'no node is selected'
            : '',
    },
    {
      type: 'Synchronized',
      status: drifted === '' && ignored === '',
      reason: drifted !== '' ? reasons.Drifted : ignored !== '' ? reasons.IgnoredByLibvirt : reasons.InSync,
      message: [drifted, ignored].filter((part) => part !== '').join('; '),
    },
    {
      type: 'RestartRequired',
      status: pending !== '',
      reason: pending === '' ? reasons.NothingPending : reasons.FieldsPending,
      message: pending,
    },
    {
      type: 'InUse',
      status: waitsFor.length > 0,
      reason: waitsFor.length > 0 ? reasons.InUse : reasons.NotInUse,
      message: waitsFor.length > 0 ? `deletion waits for ${namesOf(waitsFor)}` : '',
    },
  ];
  let { conditions } = before;
  for (const update of updates) {
    conditions = setCondition(conditions, { ...update, observedGeneration }, nowMs);
  }
  return {
    ...before,
    ...(observedGeneration === undefined ? {} : { observedGeneration }),
    summary: `${ready.length}/${Math.max(selected.length, nodes.length)}`,
    nodes,
    ...(conditions === undefined ? {} : { conditions }),
  };
}

function undated(line: NodeLine): NodeLine {
  return { ...line, lastUpdateTime: undefined };
}
