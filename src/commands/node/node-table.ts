/** Nodes as `virtctl node list` shows them; pure. */
import { hypervisorConditions, type Hypervisor } from '../../api/hypervisor.ts';
import { findCondition } from '../../api/meta.ts';
import { parseQuantity } from '../../api/quantity.ts';
import { shortDuration } from '../../base/short-duration.ts';

type Amount = string | number;

const columns = ['NAME', 'STATUS', 'MACHINES', 'CPU', 'MEMORY', 'LIBVIRT', 'AGE'];
const wideColumns = ['QEMU', 'ARCH', 'KVM', 'ADDRESS', 'LEASE'];

/** Options of {@link nodeLines}. */
export interface NodeLinesOptions {
  readonly wide: boolean;
  readonly headers: boolean;
  /** When each node's lease was renewed last, in milliseconds since 1970. */
  readonly renewed: ReadonlyMap<string, number>;
  readonly nowMs: number;
}

/** Lines of cells, one for each node; CPU and MEMORY are what machines have of what they may have. */
export function nodeLines(nodes: readonly Hypervisor[], options: NodeLinesOptions): string[][] {
  const { wide, headers, renewed, nowMs } = options;
  const age = (ms: number | undefined): string =>
    ms === undefined || Number.isNaN(ms) ? '' : shortDuration(nowMs - ms);
  const rows = nodes.map(({ metadata, spec, status }) => {
    const { allocated = {}, allocatable = {}, nodeInfo } = status ?? {};
    const name = metadata.name ?? '';
    const cells = [
      name,
      nodeStatus({ spec, status }),
      String(allocated['domains'] ?? ''),
      ofAll(allocated['cpu'], allocatable['cpu'], String),
      ofAll(allocated['memory'], allocatable['memory'], gibibytes),
      nodeInfo?.libvirtVersion ?? '',
      age(Date.parse(metadata.creationTimestamp ?? '')),
    ];
    const more = [
      nodeInfo?.qemuVersion ?? '',
      nodeInfo?.architecture ?? '',
      findCondition(status, hypervisorConditions.KVMUsable)?.status ?? '',
      status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? '',
      age(renewed.get(name)),
    ];
    return wide ? [...cells, ...more] : cells;
  });
  return headers ? [wide ? [...columns, ...wideColumns] : columns, ...rows] : rows;
}

/** `Ready`, `NotReady` or `Unknown`, and `Cordoned`, as kubectl writes a node's status. */
export function nodeStatus({ spec, status }: Pick<Hypervisor, 'spec' | 'status'>): string {
  const ready = findCondition(status, hypervisorConditions.Ready)?.status ?? 'Unknown';
  const word = ready === 'True' ? 'Ready' : ready === 'False' ? 'NotReady' : 'Unknown';
  return spec.unschedulable === true ? `${word},Cordoned` : word;
}

function ofAll(used: Amount | undefined, all: Amount | undefined, format: (amount: number) => string): string {
  if (all === undefined) return '';
  return `${format(amountOf(used ?? '0'))}/${format(amountOf(all))}`;
}

function amountOf(quantity: Amount): number {
  return parseQuantity(quantity) ?? Number.NaN;
}

function gibibytes(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(1)}Gi`;
}
