/**
 * What the machines of this node may be plugged into, as the last look at each network found it: the way from the
 * reconciler of networks to that of machines. Empty after a start of the executor, until each network was looked at.
 */
import { plugKey } from './reservations.ts';
import type { PlugQuestion, Plugs } from '../virtual-machine/interfaces.ts';
import { memberAt, type Data } from '../virtual-machine/same-value.ts';
import { canonicalIp, parseIp } from '../../base/ip-address.ts';

/** A network of this node. */
export interface PlugState {
  /** Its name at libvirt; empty when the network of that name is somebody else's. */
  readonly network: string;
  readonly isLive: boolean;
  /** Why it is not, or not as spec says. */
  readonly message: string;
  /** The DHCP host entries that the running network has. */
  readonly hosts: readonly Data[];
  /** Why a machine does not get the address it asks for, by {@link plugKey}. */
  readonly refused: ReadonlyMap<string, string>;
}

/** See the head of this file. */
export class PlugBoard implements Plugs {
  readonly #states = new Map<string, PlugState>();
  readonly #onChange: (key: string) => void;

  /** @param onChange Is told of each network (namespace/name) of which something changed. */
  constructor(onChange: (key: string) => void) {
    this.#onChange = onChange;
  }

  set(key: string, state: PlugState): void {
    const before = this.#states.get(key);
    this.#states.set(key, state);
    if (before === undefined || asText(before) !== asText(state)) this.#onChange(key);
  }

  forget(key: string): void {
    if (this.#states.delete(key)) this.#onChange(key);
  }

  /**
   * Why an interface cannot be plugged into a network yet.
   *
   * @param key The network, as namespace/name.
   * @returns undefined when it can. What is plugged in stays so, whatever becomes of the network.
   */
  obstacle(key: string, { machine, mac, ip, isPlugged }: PlugQuestion): string | undefined {
    const state = this.#states.get(key);
    if (isPlugged) return ip === undefined ? undefined : state?.refused.get(plugKey(machine, mac));
    if (state === undefined) return 'it is not on this node, or was not looked at yet';
    if (!state.isLive || state.network === '') return state.message;
    if (ip === undefined) return undefined;
    const refused = state.refused.get(plugKey(machine, mac));
    if (refused !== undefined) return refused;
    const address = canonicalIp(ip);
    const isKnown = state.hosts.some(
      (host) =>
        memberAt(host, 'ip') === address &&
        (parseIp(address)?.family === 6 || memberAt(host, 'mac') === mac.toLowerCase()),
    );
    return isKnown
      ? undefined
      : `its DHCP server does not know of ${address} yet${state.message && `: ${state.message}`}`;
  }
}

function asText({ refused, ...rest }: PlugState): string {
  return JSON.stringify([rest, [...refused]]);
}
