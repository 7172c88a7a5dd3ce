import { disksOf } from './lookup.ts';
import type { VirtualMachine, NetworkInterface, Volume } from './virtual-machine.ts';
import {
  domainName,
  interfaceSources,
  virtualMachineConditions,
  virtualMachineReasons,
  volumeSources,
} from './virtual-machine.ts';
import { findCondition } from './meta.ts';
import type { Problems } from './problem.ts';
import { parseQuantity } from './quantity.ts';
import { checkAddresses, checkMacs } from './rules-network.ts';
import { checkScheduling } from './rules-scheduling.ts';
import {
  checkExactlyOne,
  checkHostPath,
  checkLibvirtName,
  checkOverlay,
  checkReference,
  presentOf,
  type RuleInput,
} from './rules.ts';
import { yamlBytes } from './yaml-size.ts';

/** The most YAML that a VirtualMachine may have: 128 KiB. */
export const maxMachineBytes = 128 * 1024;

/** The rules of a VirtualMachine beyond its schema. */
export function checkVirtualMachine(input: RuleInput<VirtualMachine>): void {
  const { object, old, problems } = input;
  const { spec } = object;
  checkLibvirtName(
    domainName(object),
    spec.domain?.name === undefined ? 'metadata.name' : 'spec.domain.name',
    problems,
  );
  for (const [index, volume] of (spec.volumes ?? []).entries()) checkVolume(volume, `spec.volumes[${index}]`, input);
  for (const [index, one] of (spec.interfaces ?? []).entries()) checkInterface(one, `spec.interfaces[${index}]`, input);
  checkDevices(object, problems);
  checkOverlay('domain', spec.overlay, problems);
  checkScheduling(spec, old?.spec, problems);
  if (old !== undefined) checkNodeName(input, old);
  if (old !== undefined) checkIdentity(object, old, problems);
  checkDiskUsers(input);
  checkAddresses(input);
  checkMacs(input);
}

/** Refuses a machine of too much YAML, with its size in the message. */
export function checkMachineSize(object: unknown, problems: Problems): void {
  const bytes = yamlBytes(object);
  if (bytes <= maxMachineBytes) return;
  const kib = (bytes / 1024).toFixed(1);
  problems.add(
    '',
    'TooLong',
    `the VirtualMachine has ${bytes} bytes of YAML (${kib} KiB), at most ${maxMachineBytes} (128 KiB)`,
  );
}

function checkVolume(volume: Volume, path: string, { object, lookup, problems }: RuleInput<VirtualMachine>): void {
  const { namespace } = object.metadata;
  checkExactlyOne(volume, volumeSources, path, problems);
  checkReference(lookup, 'VirtualDisk', namespace, volume.virtualDisk, `${path}.virtualDisk`, problems);
  checkReference(lookup, 'VirtualImage', namespace, volume.virtualImage, `${path}.virtualImage`, problems);
  if (volume.configMap?.optional !== true) {
    checkReference(lookup, 'ConfigMap', namespace, volume.configMap?.name, `${path}.configMap.name`, problems);
  }
  if (volume.secret?.optional !== true) {
    checkReference(lookup, 'Secret', namespace, volume.secret?.name, `${path}.secret.name`, problems);
  }
  const secret = volume.cloudInit?.secretRef?.name;
  checkReference(lookup, 'Secret', namespace, secret, `${path}.cloudInit.secretRef.name`, problems);
  checkHostPath(volume.hostPath?.path, `${path}.hostPath.path`, problems);
  checkReference(lookup, 'VirtualPool', undefined, volume.emptyDisk?.pool, `${path}.emptyDisk.pool`, problems);
  if (volume.emptyDisk !== undefined && parseQuantity(volume.emptyDisk.capacity) === 0) {
    problems.add(`${path}.emptyDisk.capacity`, 'Invalid', 'must be more than 0');
  }
  if (volume.cdrom === true) {
    const bus = volume.target?.bus;
    if (bus === 'virtio' || bus === 'nvme') {
      problems.add(`${path}.target.bus`, 'Invalid', `a cdrom cannot be on the bus ${bus}; sata, scsi, ide or usb can`);
    }
    if (volume.shareable === true)
      problems.add(`${path}.shareable`, 'Invalid', 'a cdrom is read-only, and so never shared');
    if (volume.emptyDisk !== undefined) problems.add(`${path}.cdrom`, 'Invalid', 'an empty disk cannot be a cdrom');
  }
  if (volume.shareable === true && volume.virtualImage !== undefined) {
    problems.add(`${path}.shareable`, 'Invalid', "an image's overlay is this machine's own, and so never shared");
  }
}

function checkInterface(
  one: NetworkInterface,
  path: string,
  { object, lookup, problems }: RuleInput<VirtualMachine>,
): void {
  checkExactlyOne(one, interfaceSources, path, problems);
  const network = one.virtualNetwork;
  checkReference(lookup, 'VirtualNetwork', object.metadata.namespace, network, `${path}.virtualNetwork`, problems);
  if (network === undefined) {
    for (const member of presentOf(one, ['ip', 'portgroup'])) {
      problems.add(`${path}.${member}`, 'Invalid', 'is for an interface of a virtualNetwork only');
    }
    if (one.bandwidth?.inbound?.floor !== undefined) {
      problems.add(`${path}.bandwidth.inbound.floor`, 'Invalid', 'is for an interface of a virtualNetwork only');
    }
  }
  if (one.bandwidth?.outbound?.floor !== undefined) {
    problems.add(`${path}.bandwidth.outbound.floor`, 'Invalid', 'libvirt knows a floor for inbound traffic only');
  }
  if (one.mac !== undefined && Number.parseInt(one.mac.slice(0, 2), 16) % 2 === 1) {
    problems.add(`${path}.mac`, 'Invalid', `${one.mac} is a multicast address: the second digit must be even`);
  }
  if (one.ip !== undefined && !isIpAddress(one.ip)) {
    problems.add(`${path}.ip`, 'Invalid', `${one.ip} is not an IPv4 or IPv6 address`);
  }
  const forwards = one.user?.portForwards;
  if (forwards !== undefined && forwards.length > 0 && one.user?.backend !== 'passt') {
    problems.add(`${path}.user.portForwards`, 'Invalid', 'only the backend passt forwards ports');
  }
  if (one.nwfilter !== undefined && one.user !== undefined) {
    problems.add(`${path}.nwfilter`, 'Invalid', 'libvirt cannot filter a user-mode network');
  }
}

/** Names that must be unique over the volumes, the interfaces and the domain's own devices. */
function checkDevices({ spec }: VirtualMachine, problems: Problems): void {
  const targets = new Unique(problems, 'the device name');
  const macs = new Unique(problems, 'the MAC address');
  const orders = new Unique(problems, 'the boot order');
  const serials = new Unique(problems, 'the serial number');
  const { disk, interface: interfaces } = spec.domain?.devices ?? {};
  for (const [index, one] of (disk ?? []).entries()) {
    targets.add(one.target?.dev, `spec.domain.devices.disk[${index}].target.dev`);
    orders.add(one.boot?.order, `spec.domain.devices.disk[${index}].boot.order`);
    serials.add(one.serial, `spec.domain.devices.disk[${index}].serial`);
  }
  for (const [index, one] of (interfaces ?? []).entries()) {
    macs.add(one.mac?.address?.toLowerCase(), `spec.domain.devices.interface[${index}].mac.address`);
    orders.add(one.boot?.order, `spec.domain.devices.interface[${index}].boot.order`);
  }
  for (const [index, one] of (spec.volumes ?? []).entries()) {
    targets.add(one.target?.dev ?? one.device?.target?.dev, `spec.volumes[${index}].target.dev`);
    orders.add(one.bootOrder ?? one.device?.boot?.order, `spec.volumes[${index}].bootOrder`);
    serials.add(one.serial ?? one.device?.serial, `spec.volumes[${index}].serial`);
  }
  for (const [index, one] of (spec.interfaces ?? []).entries()) {
    macs.add((one.mac ?? one.device?.mac?.address)?.toLowerCase(), `spec.interfaces[${index}].mac`);
    orders.add(one.bootOrder ?? one.device?.boot?.order, `spec.interfaces[${index}].bootOrder`);
  }
  const boot = spec.domain?.os?.boot;
  if (boot !== undefined && boot.length > 0 && orders.size > 0) {
    problems.add('spec.domain.os.boot', 'Invalid', 'libvirt takes either this or the boot order of devices, not both');
  }
}

class Unique {
  readonly #seen = new Map<string, string>();
  readonly #problems: Problems;
  readonly #what: string;

  constructor(problems: Problems, what: string) {
    this.#problems = problems;
    this.#what = what;
  }

  get size(): number {
    return this.#seen.size;
  }

  add(value: string | number | undefined, path: string): void {
    if (value === undefined) return;
    const key = String(value);
    const first = this.#seen.get(key);
    if (first === undefined) this.#seen.set(key, path);
    else this.#problems.add(path, 'Duplicate', `${this.#what} ${key} is that of ${first}`);
  }
}

/**
 * A machine never runs twice: its node is written once. It may be changed only where no domain can be on the old node:
 * the domain has gone to the new one, the executor has released it, or the node never existed.
 */
function checkNodeName({ object, lookup, problems }: RuleInput<VirtualMachine>, old: VirtualMachine): void {
  const before = old.spec.nodeName ?? '';
  const now = object.spec.nodeName ?? '';
  if (before === '' || before === now) return;
  const status = old.status;
  const scheduled = findCondition(status, virtualMachineConditions.Scheduled);
  const moved = now !== '' && status?.nodeName === now;
  const released =
    (status?.nodeName ?? '') === '' &&
    scheduled?.status === 'False' &&
    scheduled.reason === virtualMachineReasons.NodeReleased;
  const neverThere =
    (status?.nodeName ?? '') === '' &&
    lookup !== undefined &&
    lookup.find('Hypervisor', undefined, before) === undefined;
  if (moved || released || neverThere) return;
  problems.add(
    'spec.nodeName',
    'Forbidden',
    `cannot be changed from ${before} while a domain may exist there; move it with a Migrate operation`,
  );
}

/** libvirt cannot give a domain another UUID, and another name only while it is off; a second domain must not appear. */
function checkIdentity(object: VirtualMachine, old: VirtualMachine, problems: Problems): void {
  if ((old.spec.nodeName ?? '') === '') return;
  for (const member of ['name', 'uuid'] as const) {
    if (object.spec.domain?.[member] === old.spec.domain?.[member]) continue;
    problems.add(`spec.domain.${member}`, 'Forbidden', 'cannot be changed once the machine has a node');
  }
}

/** A disk has one read-write user, unless all of them say shareable. */
function checkDiskUsers({ object, old, lookup, problems }: RuleInput<VirtualMachine>): void {
  const mine = new Map<string, number>();
  const before = new Set(old === undefined ? [] : disksOf(old).map(useKey));
  for (const use of disksOf(object)) {
    const path = `spec.volumes[${use.index}].virtualDisk`;
    const first = mine.get(use.disk);
    if (first === undefined) mine.set(use.disk, use.index);
    else problems.add(path, 'Duplicate', `${use.disk} is in spec.volumes[${first}] already`);
    // What was there before is for the executor to sort out; refusing every other change would not help.
    if (before.has(useKey(use))) continue;
    for (const other of lookup?.usersOfDisk?.(object.metadata.namespace ?? '', use.disk) ?? []) {
      if (other.metadata.name === object.metadata.name) continue;
      const theirs = disksOf(other).find((one) => one.disk === use.disk);
      if (theirs === undefined || (use.readOnly && theirs.readOnly) || (use.shareable && theirs.shareable)) continue;
      const who = `VirtualMachine "${other.metadata.name ?? ''}"`;
      problems.add(
        path,
        'Forbidden',
        use.readOnly || theirs.readOnly
          ? `${who} uses ${use.disk} too, and not both only read it; both must say readOnly, or both shareable`
          : `${who} has ${use.disk} read-write already; a disk has one such user, unless both say shareable`,
      );
      break;
    }
  }
}

function useKey(use: { readonly disk: string; readonly readOnly: boolean; readonly shareable: boolean }): string {
  return JSON.stringify([use.disk, use.readOnly, use.shareable]);
}

/** True for an IPv4 address in dotted form or an IPv6 address. */
export function isIpAddress(text: string): boolean {
  const v4 = /^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/;
  if (v4.test(text)) return true;
  const tail = /:(\d+\.\d+\.\d+\.\d+)$/.exec(text)?.[1];
  if (tail !== undefined && !v4.test(tail)) return false;
  const hex = tail === undefined ? text : `${text.slice(0, -tail.length)}0:0`;
  const halves = hex.split('::');
  if (halves.length > 2 || !hex.includes(':')) return false;
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  if (!groups.every((one) => /^[0-9a-fA-F]{1,4}$/.test(one))) return false;
  return halves.length === 2 ? groups.length < 8 : groups.length === 8;
}
