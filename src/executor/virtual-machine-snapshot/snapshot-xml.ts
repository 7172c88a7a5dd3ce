/** What is wanted of a snapshot, by our own fields or libvirt's, and the XML that libvirt is given for it. Pure. */
import type { ModeInput } from './choose-mode.ts';
import { StorageProblem } from '../virtual-pool/storage-context.ts';
import type { Data, DataObject } from '../virtual-machine/same-value.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { render } from '../../convertor/render.ts';

/** Members of libvirt's snapshot that are read by {@link wishesOf}, or tell of one that was made. */
const readKeys: ReadonlySet<string> = new Set([
  ...['name', 'memory', 'disks', 'state', 'creationTime', 'parent', 'domain', 'inactiveDomain', 'active'],
  ...['revertDisks', 'cookie'],
]);

/** What is wanted, by our own fields or else by libvirt's. */
export function wishesOf(
  spec: VirtualMachineSnapshot['spec'],
): Pick<ModeInput, 'mode' | 'memory' | 'perDisk' | 'othersToo'> & { readonly memoryFile?: string | undefined } {
  const { memory, disks } = spec.domainsnapshot ?? {};
  const listed = (disks?.disk ?? []).map(({ name = '', snapshot, source }) => {
    if (snapshot === 'manual') {
      throw new StorageProblem('NotSupported', `disk ${name}: a manual snapshot is taken by whoever keeps the disk`, {
        isFinal: true,
      });
    }
    const mode = snapshot === undefined ? undefined : snapshotWords[snapshot];
    return { name, mode, file: source?.file };
  });
  const own = spec.disks ?? [];
  const inMemory =
    memory?.snapshot === undefined || memory.snapshot === 'no' ? undefined : snapshotWords[memory.snapshot];
  return {
    mode: spec.mode === undefined || spec.mode === 'Auto' ? (inMemory ?? 'Auto') : spec.mode,
    memory: spec.memory ?? inMemory !== undefined,
    perDisk: own.length > 0 ? own : listed,
    othersToo: own.length === 0,
    memoryFile: memory?.file,
  };
}

const snapshotWords = { no: 'None', internal: 'Internal', external: 'External' } as const;

/** What libvirt is given. */
export function snapshotXml(snapshot: VirtualMachineSnapshot, domain?: DataObject): string {
  const { status, spec, metadata } = snapshot;
  // Never without one: by that it is told from those that virsh took, when objects are lost (adoption/recover-snapshots.ts).
  const described = [spec.description, spec.domainsnapshot?.description].find((one) => one !== undefined && one !== '');
  const description = described ?? `VirtualMachineSnapshot ${metadata.namespace ?? ''}/${metadata.name ?? ''}`;
  const own: Record<string, Data> = {
    name: status?.name ?? '',
    memory:
      status?.memory !== true
        ? { snapshot: 'no' }
        : status.memoryFile === undefined
          ? { snapshot: 'internal' }
          : { snapshot: 'external', file: status.memoryFile },
    disks: {
      disk: (status?.disks ?? []).map((disk): Data => {
        if (disk.mode === 'Internal') return { name: disk.target, snapshot: 'internal' };
        if (disk.mode !== 'External') return { name: disk.target, snapshot: 'no' };
        return {
          name: disk.target,
          snapshot: 'external',
          type: 'file',
          driver: { type: 'qcow2' },
          source: { file: disk.overlay ?? '' },
        };
      }),
    },
    ...(domain === undefined
      ? {}
      : {
          domain,
          state: stateAtLibvirt(status),
          creationTime: String(Math.floor(Date.parse(snapshot.metadata.creationTimestamp ?? '') / 1000) || 0),
        }),
  };
  // libvirt leaves the memory out by itself where there is none to keep.
  if (status?.domainState === 'shutoff') delete own['memory'];
  const given = (spec.domainsnapshot ?? {}) as DataObject;
  // What wishesOf has read is in status, and what libvirt tells of a snapshot that was made is nothing to ask for.
  const rest = Object.entries(given).filter(([key]) => !readKeys.has(key));
  return render(
    'domainsnapshot',
    {
      ...own,
      ...Object.fromEntries(rest),
      description,
    },
    spec.overlay as Parameters<typeof render>[2],
    {
      path: 'spec.domainsnapshot',
      overlayPath: 'spec.overlay',
    },
  );
}

/** libvirt's word for what a snapshot has: virDomainSnapshotState. */
function stateAtLibvirt(status: VirtualMachineSnapshot['status']): string {
  if (status?.domainState === 'shutoff') return 'shutoff';
  if (status?.memory !== true) return 'disk-snapshot';
  return status.domainState === 'paused' ? 'paused' : 'running';
}
