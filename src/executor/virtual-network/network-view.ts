/** What libvirt has of one network, read afresh for each reconcile. */
import { canonicalNetwork } from './canonical-network.ts';
import { foreignMetadata, markOf, type NetworkMark } from './network-mark.ts';
import type { LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import type { DataObject } from '../virtual-machine/same-value.ts';
import { analyse, type OverlayEntry } from '../../analyser/analyse.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Network } from '../../libvirt/objects/networks.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** A network as it was a moment ago. */
export interface NetworkView {
  readonly network: Network;
  /** The definition for the next start. */
  readonly inactive: DataObject;
  /** What the tables do not know of it. */
  readonly overlay: readonly OverlayEntry[];
  /** The running network; undefined when it is off. */
  readonly live: DataObject | undefined;
  readonly mark: NetworkMark | undefined;
  /** The metadata that is not ours. */
  readonly foreignMetadata: readonly string[];
  readonly isPersistent: boolean;
  readonly autostart: boolean;
}

/** Finds a network by name; undefined when there is none. */
export async function findNetwork(
  libvirt: Libvirt,
  name: string,
  options: LibvirtCallOptions,
): Promise<Network | undefined> {
  try {
    return await libvirt.networks.byName(name, options);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Reads everything of a network; undefined when it is gone. */
export async function readNetwork(network: Network, options: LibvirtCallOptions): Promise<NetworkView | undefined> {
  try {
    const [isActive, isPersistent] = await Promise.all([network.isActive(options), network.isPersistent(options)]);
    const { value, overlay } = analyse(await network.xml({ inactive: isPersistent, ...options }), {
      maxBytes: maxReportedBytes,
    });
    const inactive = value as DataObject;
    const live = isActive ? await readLive(network, options) : undefined;
    return {
      network,
      inactive: canonicalNetwork(inactive),
      overlay,
      live,
      mark: markOf(inactive['metadata']),
      foreignMetadata: foreignMetadata(inactive['metadata']),
      isPersistent,
      autostart: isPersistent && (await network.autostart(options)),
    };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** The running network. */
export async function readLive(network: Network, options: LibvirtCallOptions): Promise<DataObject> {
  const { value } = analyse(await network.xml(options), { maxBytes: maxReportedBytes });
  return canonicalNetwork(value as DataObject);
}
