/** Snapshots as `virtctl snapshot list` and `tree` show them; pure. */
import { formatBytesRounded, parseQuantity } from '../../api/quantity.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { shortDuration } from '../../base/short-duration.ts';

const columns = ['NAME', 'VM', 'PHASE', 'MODE', 'MEMORY', 'QUIESCED', 'STATE', 'PARENT', 'CURRENT', 'SIZE', 'AGE'];

/** Lines of cells, one for each snapshot, the oldest first. */
export function snapshotLines(
  snapshots: readonly VirtualMachineSnapshot[],
  nowMs: number,
  headers: boolean,
): string[][] {
  const yes = (value: boolean | undefined): string => (value === undefined ? '' : value ? 'yes' : 'no');
  const rows = byAge(snapshots).map(({ metadata, spec, status }) => [
    metadata.name ?? '',
    spec.virtualMachine,
    status?.percent === undefined
      ? (status?.phase ?? (spec.schedule === undefined ? 'Pending' : 'Scheduled'))
      : `${status.phase ?? ''} ${status.percent}%`,
    status?.mode ?? '',
    yes(status?.memory),
    yes(status?.quiesced),
    status?.domainState ?? '',
    status?.parent ?? '',
    status?.current === true ? '*' : '',
    sizeOf(status?.size),
    age(status?.creationTime ?? metadata.creationTimestamp ?? '', nowMs),
  ]);
  return headers ? [columns, ...rows] : rows;
}

/** The snapshots of a machine as a tree, `*` before the one that the machine goes on from. */
export function snapshotTree(snapshots: readonly VirtualMachineSnapshot[], nowMs: number): string {
  const taken = byAge(snapshots.filter(({ spec }) => spec.schedule === undefined));
  const names = new Set(taken.map(({ metadata }) => metadata.name));
  const under = (parent: string | undefined): VirtualMachineSnapshot[] =>
    taken.filter(({ status }) => {
      const own = status?.parent !== undefined && names.has(status.parent) ? status.parent : undefined;
      return own === parent;
    });
  const lines: string[] = [];
  const seen = new Set<string>();
  const draw = (snapshot: VirtualMachineSnapshot, lead: string, isLast: boolean, isRoot: boolean): void => {
    const { name = '' } = snapshot.metadata;
    // libvirt has no circles; what was written by hand may.
    if (seen.has(name)) return;
    seen.add(name);
    lines.push(`${lead}${isRoot ? '' : isLast ? '└─ ' : '├─ '}${labelOf(snapshot, nowMs)}\n`);
    const children = under(name);
    const inner = isRoot ? '' : `${lead}${isLast ? '   ' : '│  '}`;
    for (const [index, child] of children.entries()) draw(child, inner, index === children.length - 1, false);
  };
  // Those of a circle have no root: each that is left begins one.
  for (const root of [...under(undefined), ...taken]) draw(root, '', true, true);
  return lines.join('');
}

/** For people; what is written exactly is in the object. */
function sizeOf(size: string | number | undefined): string {
  const bytes = size === undefined ? undefined : parseQuantity(size);
  return bytes === undefined ? '' : formatBytesRounded(bytes);
}

function labelOf({ metadata, spec, status }: VirtualMachineSnapshot, nowMs: number): string {
  const facts = [
    status?.mode?.toLowerCase(),
    status?.memory === true ? 'memory' : undefined,
    status?.phase === 'Ready' ? undefined : (status?.phase ?? 'Pending'),
    age(status?.creationTime ?? metadata.creationTimestamp ?? '', nowMs),
  ].filter((fact) => fact !== undefined && fact !== '');
  const description = spec.description === undefined ? '' : ` ${spec.description.split('\n')[0] ?? ''}`;
  return `${status?.current === true ? '* ' : ''}${metadata.name ?? ''} (${facts.join(', ')})${description}`;
}

function byAge(snapshots: readonly VirtualMachineSnapshot[]): VirtualMachineSnapshot[] {
  const key = ({ metadata, status }: VirtualMachineSnapshot): string =>
    `${status?.creationTime ?? metadata.creationTimestamp ?? ''} ${metadata.name ?? ''}`;
  return [...snapshots].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function age(time: string, nowMs: number): string {
  const at = Date.parse(time);
  return Number.isNaN(at) ? '' : shortDuration(nowMs - at);
}
