/**
 * What a machine's spec comes to as a domain: what the user wrote, our few defaults, its identity, and the devices that its
 * volumes and interfaces became. Pure.
 */
import { matchEntries } from './list-identity.ts';
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from './same-value.ts';
import { domainName, type VirtualMachine } from '../../api/virtual-machine.ts';

/** What the node says about domains. */
export interface NodeTraits {
  /** The architecture of its processors, as `x86_64`. */
  readonly arch: string;
  /** The type of domains that it can run natively: `kvm`, or the only one that its driver has, as `test`. */
  readonly nativeType: string;
  /** Whether a machine of type kvm is run under emulation. */
  readonly emulate: boolean;
}

/** Devices that volumes and interfaces became, with further ones of spec.domain. */
export interface ResolvedDevices {
  readonly disks: readonly DataObject[];
  readonly interfaces: readonly DataObject[];
}

/** Memory of a machine that does not say. */
const defaultMemory: DataObject = { unit: 'MiB', value: 1024 };

/** The domain that a machine asks for, without metadata. */
export function desiredDomain(machine: VirtualMachine, devices: ResolvedDevices, node: NodeTraits): DataObject {
  const spec = (machine.spec.domain ?? {}) as DataObject;
  const asked = typeof spec['type'] === 'string' ? spec['type'] : node.nativeType;
  const emulated = asked === 'kvm' && node.emulate;
  const type = emulated ? 'qemu' : asked;
  const domain: Record<string, Data | undefined> = {
    ...spec,
    type,
    name: domainName(machine),
    uuid: spec['uuid'] ?? machine.metadata.uid,
    memory: spec['memory'] ?? (memberAt(spec, 'cpu', 'numa') === undefined ? defaultMemory : undefined),
    vcpu: spec['vcpu'] ?? { value: 1 },
    os: desiredOs(spec['os'], type, node.arch),
    devices: desiredDevices(spec['devices'], devices, type, isQ35(desiredOs(spec['os'], type, node.arch))),
  };
  delete domain['metadata'];
  delete domain['id'];
  if (emulated) domain['cpu'] = emulatedCpu(spec['cpu']);
  if (domain['features'] === undefined && type !== 'test' && isX86(domain['os'])) {
    domain['features'] = { acpi: {}, apic: {} };
  } else if (isEmpty(domain['features'])) {
    // Said to be none: what an adopted domain does not have is not given to it.
    delete domain['features'];
  }
  const metadata = spec['metadata'];
  if (isList(metadata)) domain['metadata'] = metadata;
  return Object.fromEntries(Object.entries(domain).filter(([, value]) => value !== undefined));
}

function desiredOs(os: Data | undefined, type: string, arch: string): DataObject {
  const given = isObject(os) ? os : {};
  const osType = isObject(given['type']) ? given['type'] : {};
  const machine = osType['machine'] ?? (type !== 'test' && (osType['arch'] ?? arch) === 'x86_64' ? 'q35' : undefined);
  return {
    ...given,
    type: {
      ...osType,
      ...(type === 'test' ? {} : { arch: osType['arch'] ?? arch }),
      ...(machine === undefined ? {} : { machine }),
      value: osType['value'] ?? 'hvm',
    },
  };
}

function isEmpty(value: Data | undefined): boolean {
  return isObject(value) && Object.keys(value).length === 0;
}

function isX86(os: Data | undefined): boolean {
  return ['x86_64', 'i686'].includes(textOf(memberAt(os, 'type', 'arch')));
}

/** On q35 each device that is plugged in takes a root port, and libvirt keeps one free. */
const rootPorts = 10;

function isQ35(os: DataObject): boolean {
  return /^(q35$|pc-q35-)/.test(textOf(memberAt(os, 'type', 'machine')));
}

function desiredDevices(
  devices: Data | undefined,
  resolved: ResolvedDevices,
  type: string,
  needsPorts: boolean,
): DataObject {
  const given = isObject(devices) ? devices : {};
  const list = (value: Data | undefined): readonly Data[] => (isList(value) ? value : []);
  const disks = [...list(given['disk']), ...resolved.disks];
  const interfaces = [...list(given['interface']), ...resolved.interfaces];
  const controllers = list(given['controller']);
  // Whoever lays out the buses himself, or took the layout over from a libvirt, gets what he asks for.
  const hasPci = controllers.some((one) => memberAt(one, 'type') === 'pci');
  const ports = Array.from({ length: rootPorts + 1 }, (_none, index): Data => ({
    type: 'pci',
    index,
    model: index === 0 ? 'pcie-root' : 'pcie-root-port',
  }));
  // An empty list says that there is to be none.
  const hasSerial = given['serial'] !== undefined || given['console'] !== undefined;
  return {
    ...given,
    ...(disks.length > 0 ? { disk: disks } : {}),
    ...(interfaces.length > 0 ? { interface: interfaces } : {}),
    ...(needsPorts && !hasPci ? { controller: [...controllers, ...ports] } : {}),
    ...(hasSerial || type === 'test' ? {} : { serial: [{ type: 'pty' }] }),
  };
}

/** Without KVM there is no host CPU to pass through: the emulator's largest is the nearest. */
function emulatedCpu(cpu: Data | undefined): Data | undefined {
  if (!isObject(cpu) || !['host-passthrough', 'host-model'].includes(textOf(cpu['mode']))) return cpu;
  const { topology, numa } = cpu;
  return {
    mode: 'maximum',
    ...(topology === undefined ? {} : { topology }),
    ...(numa === undefined ? {} : { numa }),
  };
}

/**
 * The same place in another version of a domain: list indices in the path of an overlay entry follow their entries.
 *
 * @returns undefined when what it belongs to is not there.
 */
export function movePath(at: string, from: DataObject, to: DataObject): string | undefined {
  if (at === '') return '';
  let [left, right]: [Data | undefined, Data | undefined] = [from, to];
  let keys = '';
  let out = '';
  for (const part of at.split('.')) {
    const match = /^([^[\]]+)(?:\[([0-9]+)\])?$/.exec(part);
    if (match === null) return undefined;
    const [, key = '', index] = match;
    keys = keys === '' ? key : `${keys}.${key}`;
    [left, right] = [memberAt(left, key), memberAt(right, key)];
    out = out === '' ? key : `${out}.${key}`;
    if (index === undefined) continue;
    if (!isList(left) || !isList(right)) return undefined;
    const found = matchEntries(keys, left, right)[Number(index)];
    if (found === undefined) return undefined;
    [left, right] = [left[Number(index)], right[found]];
    out += `[${found}]`;
  }
  return out;
}
