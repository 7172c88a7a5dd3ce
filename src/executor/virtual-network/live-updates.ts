/**
 * What virNetworkUpdate can change in a running network, as single calls: the difference between the network as it runs
 * and as it is to be. Pure. What it cannot change (https://libvirt.org/html/libvirt-libvirt-network.html,
 * virNetworkUpdateSection, and libvirt's src/conf/network_conf.c) makes no step, and waits for a restart.
 */
import { asJson, listAt } from './network-definition.ts';
import { memberAt, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { render } from '../../convertor/render.ts';
import type { NetworkSection } from '../../libvirt/objects/networks.ts';

/** One call of virNetworkUpdate. */
export interface NetworkUpdate {
  readonly command: 'modify' | 'delete' | 'add-last';
  readonly section: NetworkSection;
  /** The index of the `<ip>` element that it is about. */
  readonly parentIndex?: number;
  /** The element. */
  readonly xml: string;
  /** What it is about, below spec.network: differences that start so were tried. */
  readonly path: string;
}

interface Section {
  readonly section: NetworkSection;
  /** Keys from the network (or `<ip>`) to the list. */
  readonly keys: readonly string[];
  /** What makes two entries the same one, for modifying and deleting. */
  readonly identity: readonly string[];
  /** Whether libvirt changes an entry in place; otherwise it is taken out and put in. */
  readonly canModify: boolean;
}

const perIp: readonly Section[] = [
  { section: 'ip-dhcp-range', keys: ['dhcp', 'range'], identity: ['start', 'end'], canModify: false },
  { section: 'ip-dhcp-host', keys: ['dhcp', 'host'], identity: ['mac', 'id', 'name'], canModify: true },
];

const perNetwork: readonly Section[] = [
  { section: 'forward-interface', keys: ['forward', 'interface'], identity: ['dev'], canModify: false },
  { section: 'portgroup', keys: ['portgroup'], identity: ['name'], canModify: true },
  { section: 'dns-host', keys: ['dns', 'host'], identity: ['ip'], canModify: false },
  { section: 'dns-txt', keys: ['dns', 'txt'], identity: ['name'], canModify: false },
  {
    section: 'dns-srv',
    keys: ['dns', 'srv'],
    identity: ['service', 'protocol', 'domain', 'target', 'port'],
    canModify: false,
  },
];

/**
 * The calls that bring a running network nearer to what it is to be: first everything that goes, then what comes.
 *
 * @param live The network as it runs.
 * @param target As it is to be, all of it.
 */
export function planUpdates(live: DataObject, target: DataObject): NetworkUpdate[] {
  const updates = perNetwork.flatMap((section) => updatesOf(section, live, target, [], ''));
  const targets = listAt(target, 'ip');
  listAt(live, 'ip').forEach((ip, index) => {
    const at = targets.findIndex((one) => memberAt(one, 'address') === memberAt(ip, 'address'));
    const wanted = targets[at];
    if (wanted === undefined) return;
    for (const section of perIp) {
      const found = updatesOf(section, ip, wanted, ['ip'], `ip[${at}].`);
      updates.push(...found.map((one) => ({ ...one, parentIndex: index })));
    }
  });
  const turn = { delete: 0, modify: 1, 'add-last': 2 };
  return updates.sort((a, b) => turn[a.command] - turn[b.command]);
}

function updatesOf(
  { section, keys, identity, canModify }: Section,
  live: Data,
  target: Data,
  outer: readonly string[],
  prefix: string,
): NetworkUpdate[] {
  const [is, wanted] = [listAt(live, ...keys), listAt(target, ...keys)];
  const nameOf = (entry: Data): string => identity.map((key) => asJson(memberAt(entry, key) ?? null)).join(' ');
  const update = (command: NetworkUpdate['command'], entry: Data): NetworkUpdate => ({
    command,
    section,
    xml: elementXml([...outer, ...keys], entry),
    path: `${prefix}${keys.join('.')}`,
  });
  const kept = new Set(wanted.map(asJson));
  const there = new Set(is.map(asJson));
  const named = new Set(is.map(nameOf));
  const staying = new Set(wanted.map(nameOf));
  const gone = is
    .filter((entry) => !kept.has(asJson(entry)) && !(canModify && staying.has(nameOf(entry))))
    .map((entry) => update('delete', entry));
  const come = wanted
    .filter((entry) => !there.has(asJson(entry)))
    .map((entry) => update(canModify && named.has(nameOf(entry)) ? 'modify' : 'add-last', entry));
  return [...gone, ...come];
}

/** One element of a network by the path to it: the convertor writes it with what is around it, which is cut away. */
function elementXml(keys: readonly string[], entry: Data): string {
  const lists = new Set(['ip', 'range', 'host', 'interface', 'portgroup', 'txt', 'srv']);
  const document = keys.reduceRight<Data>((inner, key) => ({ [key]: lists.has(key) ? [inner] : inner }), entry);
  const xml = render('network', document as DataObject, [], { pretty: false });
  const outer = ['network', ...keys.slice(0, -1)];
  const open = outer.map((name) => `<${name}>`).join('');
  const close = outer
    .toReversed()
    .map((name) => `</${name}>`)
    .join('');
  return xml.slice(xml.indexOf(open) + open.length, xml.lastIndexOf(close));
}
