/** Who is plugged into a network: its ports at libvirt, by the domains they belong to. */
import type { NetworkContext } from './network-context.ts';
import type { LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import { analyse } from '../../analyser/analyse.ts';
import { isNotFound, isUnsupported } from '../../libvirt/errors.ts';
import type { Network, NetworkPort } from '../../libvirt/objects/networks.ts';

/** A guest's interface in a network. */
export interface AttachedGuest {
  /** The machine as namespace/name; a domain that is no machine's as `domain NAME`. */
  readonly who: string;
  readonly mac: string;
}

/** More ports are not remembered. */
const maxRemembered = 10_000;

/** Reads ports. A port never changes its owner, so each is read once. */
export class AttachedGuests {
  readonly #machineOf: NetworkContext['machineOf'];
  readonly #known = new Map<string, { readonly domain: string; readonly mac: string }>();

  constructor(machineOf: NetworkContext['machineOf']) {
    this.#machineOf = machineOf;
  }

  /** The guests of a running network. */
  async of(network: Network, options: LibvirtCallOptions): Promise<readonly AttachedGuest[]> {
    const ports = await portsOf(network, options);
    const found = await Promise.all(ports.map((port) => this.#read(port, options)));
    return found.flatMap((port): AttachedGuest[] => {
      if (port === undefined) return [];
      const { domain, mac } = port;
      return [{ who: this.#machineOf(domain) ?? (domain === '' ? 'somebody' : `domain ${domain}`), mac }];
    });
  }

  async #read(
    port: NetworkPort,
    options: LibvirtCallOptions,
  ): Promise<{ readonly domain: string; readonly mac: string } | undefined> {
    const known = this.#known.get(port.uuid);
    if (known !== undefined) return known;
    try {
      const value = analyse(await port.xml(options)).value as DataObject;
      const read = {
        domain: textOf(memberAt(value, 'owner', 'name')),
        mac: textOf(memberAt(value, 'mac', 'address')).toLowerCase(),
      };
      if (this.#known.size >= maxRemembered) this.#known.clear();
      this.#known.set(port.uuid, read);
      return read;
    } catch (error) {
      // Unplugged meanwhile.
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}

async function portsOf(network: Network, options: LibvirtCallOptions): Promise<readonly NetworkPort[]> {
  try {
    return await network.ports(options);
  } catch (error) {
    // Drivers without ports (libvirt's test driver) have no guests on a network either.
    if (isNotFound(error) || isUnsupported(error)) return [];
    throw error;
  }
}
