/**
 * A network in the one way in which two are compared: addresses as libvirt writes them, MAC addresses in small letters,
 * without what is libvirt's alone. Pure.
 */
import { isList, isObject, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { canonicalIp } from '../../base/ip-address.ts';

const addressKeys = new Set(['address', 'start', 'end', 'ip', 'gateway', 'addr', 'netmask']);
const macPaths = new Set(['mac.address', 'ip.dhcp.host.mac']);

/** What libvirt counts, or what is compared by other means. */
const leftOut = new Set(['connections', 'metadata']);

/** See the head of this file. */
export function canonicalNetwork(network: DataObject): DataObject {
  return Object.fromEntries(
    Object.entries(network)
      .filter(([key, value]) => value !== undefined && !leftOut.has(key))
      .map(([key, value]) => [key, canonicalAt(value ?? null, key)]),
  );
}

function canonicalAt(value: Data, path: string): Data {
  if (isList(value)) return value.map((entry) => canonicalAt(entry, path));
  if (isObject(value)) {
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, member]): [string, Data][] => {
        // How many guests use an interface of the pool.
        if (member === undefined || key === 'connections') return [];
        return [[key, canonicalAt(member, `${path}.${key}`)]];
      }),
    );
  }
  if (typeof value !== 'string') return value;
  if (macPaths.has(path)) return value.toLowerCase();
  return addressKeys.has(path.slice(path.lastIndexOf('.') + 1)) ? canonicalIp(value) : value;
}
