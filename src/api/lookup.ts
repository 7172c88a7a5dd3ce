import type { KubeObject } from './meta.ts';
import type { VirtualMachine } from './virtual-machine.ts';
import type { VirtualNetwork } from './virtual-network.ts';

/** What validation may look up: informers' caches, or the embedded server's store. Absent parts are not checked. */
export interface Lookup {
  /** The object of a kind (ours, Secret, ConfigMap), or undefined when there is none. */
  readonly find: (kind: string, namespace: string | undefined, name: string) => KubeObject | undefined;
  /** The machines of a namespace whose spec names a VirtualDisk ({@link disksOf}). */
  readonly usersOfDisk?: (namespace: string, disk: string) => Iterable<VirtualMachine>;
  /** The machines of a namespace whose spec names a VirtualNetwork ({@link networksOf}). */
  readonly usersOfNetwork?: (namespace: string, network: string) => Iterable<VirtualMachine>;
  /** The VirtualNetworks of all namespaces: their names, and bridge, forward and ip of spec.network. */
  readonly networks?: () => Iterable<VirtualNetwork>;
}

/** How a machine uses a VirtualDisk. */
export interface DiskUse {
  /** The disk's name, in the machine's namespace. */
  readonly disk: string;
  /** Where in spec.volumes. */
  readonly index: number;
  readonly readOnly: boolean;
  readonly shareable: boolean;
}

/** The VirtualDisks that a machine's spec names: the key of an index behind {@link Lookup.usersOfDisk}. */
export function disksOf(machine: { readonly spec?: unknown }): DiskUse[] {
  const volumes = (machine.spec as { readonly volumes?: unknown } | null | undefined)?.volumes;
  if (!Array.isArray(volumes)) return [];
  return (volumes as unknown[]).flatMap((volume, index) => {
    const { virtualDisk, readOnly, cdrom, shareable } = (volume ?? {}) as Readonly<Record<string, unknown>>;
    if (typeof virtualDisk !== 'string') return [];
    return [{ disk: virtualDisk, index, readOnly: readOnly === true || cdrom === true, shareable: shareable === true }];
  });
}

/** The VirtualNetworks that a machine's spec names: the key of an index behind {@link Lookup.usersOfNetwork}. */
export function networksOf(machine: { readonly spec?: unknown }): string[] {
  const interfaces = (machine.spec as { readonly interfaces?: unknown } | null | undefined)?.interfaces;
  if (!Array.isArray(interfaces)) return [];
  const names = (interfaces as unknown[]).flatMap((one) => {
    const { virtualNetwork } = (one ?? {}) as Readonly<Record<string, unknown>>;
    return typeof virtualNetwork === 'string' ? [virtualNetwork] : [];
  });
  return [...new Set(names)];
}
