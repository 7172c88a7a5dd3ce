/**
 * The interfaces of a running domain as they were asked for. For one in a network of the host's bridge, of macvtaps or of
 * host devices, libvirt's live XML has the type that it came to (`bridge`, `direct`, `hostdev`), beside the network's name
 * and port (virDomainActualNetDefContentsFormat); its definition has `network`. Pure.
 */
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from './same-value.ts';

/** The live domain with the type `network` for every interface that a libvirt network gave a port. */
export function asPlugged(live: DataObject): DataObject {
  const { devices } = live;
  if (!isObject(devices) || !isList(devices['interface'])) return live;
  const plugged = devices['interface'].map((one): Data => (isObject(one) && hasPort(one) ? asNetwork(one) : one));
  return { ...live, devices: { ...devices, interface: plugged } };
}

function hasPort(device: DataObject): boolean {
  return ['network', 'portid'].every((key) => textOf(memberAt(device, 'source', key)) !== '');
}

function asNetwork(device: DataObject): DataObject {
  return device['type'] === 'network' ? device : { ...device, type: 'network' };
}
