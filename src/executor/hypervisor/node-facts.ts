/** What libvirt and the operating system tell of a node, as a Hypervisor's status has it. */
import { readFile } from 'node:fs/promises';
import { arch as nodeArch, hostname, networkInterfaces, release } from 'node:os';
import type { HypervisorStatus } from '../../api/hypervisor.ts';
import { version } from '../../base/version.ts';
import { render } from '../../convertor/render.ts';
import { LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { DomainCapabilitiesOptions } from '../../libvirt/objects/node.ts';
import { parseElement, type XmlElement } from '../../xml/element.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** What changes seldom: asked once for each connection. */
export interface NodeFacts {
  readonly hypervisor: string;
  readonly arch: string;
  /** The emulator of the node's own architecture; undefined for drivers without. */
  readonly emulator: string | undefined;
  /** `kvm` on QEMU, else the driver's own type. */
  readonly nativeType: string;
  readonly nodeInfo: NonNullable<HypervisorStatus['nodeInfo']>;
  readonly cpu: NonNullable<HypervisorStatus['cpu']>;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly numa: NonNullable<HypervisorStatus['numa']>;
  readonly domainCapabilities: NonNullable<HypervisorStatus['domainCapabilities']>;
  readonly addresses: NonNullable<HypervisorStatus['addresses']>;
}

interface Options {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/** Asks libvirt and the operating system. */
export async function readNodeFacts(libvirt: Libvirt, uri: string, options: Options): Promise<NodeFacts> {
  const { node } = libvirt;
  const [hypervisor, hypervisorVersion, libvirtVersion, info, capabilitiesXml] = await Promise.all([
    node.hypervisor(options),
    node.hypervisorVersion(options),
    node.libvirtVersion(options),
    node.info(options),
    node.capabilities(options),
  ]);
  const capabilities = parseElement(capabilitiesXml, { maxBytes: maxReportedBytes });
  const host = child(capabilities, 'host');
  const cpu = child(host, 'cpu');
  const isQemu = hypervisor === 'QEMU';
  const arch = textOf(child(cpu, 'arch')) || archName();
  const domainCapabilities = isQemu ? await readDomainCapabilities(libvirt, capabilities, arch, options) : [];
  return {
    hypervisor,
    arch,
    emulator: isQemu ? emulatorOf(capabilities, arch) : undefined,
    nativeType: isQemu ? 'kvm' : hypervisor.toLowerCase(),
    nodeInfo: {
      hostname: hostname(),
      ...(await identity()),
      ...named('systemUUID', textOf(child(host, 'uuid'))),
      architecture: arch,
      kernelVersion: release(),
      libvirtVersion,
      ...(isQemu ? { qemuVersion: hypervisorVersion } : {}),
      executorVersion: version,
      libvirtURI: uri,
    },
    cpu: {
      ...named('model', textOf(child(cpu, 'model'))),
      ...named('vendor', textOf(child(cpu, 'vendor'))),
      sockets: info.sockets,
      cores: info.cores,
      threads: info.threads,
      mhz: info.mhz,
      features: children(cpu, 'feature')
        .map((feature) => feature.attributes.get('name') ?? '')
        .slice(0, 2048),
    },
    cpus: info.cpus,
    memoryBytes: info.memoryKiB * 1024,
    numa: children(child(child(host, 'topology'), 'cells'), 'cell').map(numaCell),
    domainCapabilities,
    addresses: addresses(),
  };
}

function numaCell(cell: XmlElement): NodeFacts['numa'][number] {
  const cpus = children(child(cell, 'cpus'), 'cpu').map((cpu) => cpu.attributes.get('id') ?? '');
  const memory = child(cell, 'memory');
  const pages = children(cell, 'pages')
    .filter((one) => one.attributes.get('size') !== '4')
    .map((one): [string, number] => [`${Number(one.attributes.get('size')) / 1024}Mi`, Number(one.text)]);
  return {
    id: Number(cell.attributes.get('id') ?? 0),
    cpus: cpus.join(','),
    ...(memory === undefined ? {} : { memory: String(BigInt(memory.text.trim() || '0') * 1024n) }),
    ...(pages.length === 0 ? {} : { pages: Object.fromEntries(pages) }),
  };
}

/** More architectures than this are not asked for; a host with every emulator of QEMU has about thirty. */
const maxArchitectures = 8;

/** For the node's own architecture first, then for the others that it has emulators of; with KVM and without. */
async function readDomainCapabilities(
  libvirt: Libvirt,
  capabilities: XmlElement,
  nodeArchitecture: string,
  options: Options,
): Promise<NodeFacts['domainCapabilities'][number][]> {
  const others = children(capabilities, 'guest').map(
    (guest) => child(guest, 'arch')?.attributes.get('name') ?? nodeArchitecture,
  );
  const found: NodeFacts['domainCapabilities'][number][] = [];
  for (const arch of [...new Set([nodeArchitecture, ...others])].slice(0, maxArchitectures)) {
    found.push(...(await readArchitecture(libvirt, capabilities, arch, options)));
  }
  return found;
}

async function readArchitecture(
  libvirt: Libvirt,
  capabilities: XmlElement,
  arch: string,
  options: Options,
): Promise<NodeFacts['domainCapabilities'][number][]> {
  const found: NodeFacts['domainCapabilities'][number][] = [];
  for (const virtType of ['kvm', 'qemu'] as const) {
    let xml: string;
    try {
      xml = await libvirt.node.domainCapabilities({ arch, virtType, ...options });
    } catch (error) {
      // QEMU without KVM, or none of this architecture.
      if (error instanceof LibvirtError) continue;
      throw error;
    }
    const root = parseElement(xml, { maxBytes: maxReportedBytes });
    const os = child(root, 'os');
    const modes = children(child(root, 'cpu'), 'mode');
    const models = modes
      .filter((mode) => mode.attributes.get('name') === 'custom')
      .flatMap((mode) => children(mode, 'model'))
      .filter((model) => model.attributes.get('usable') !== 'no')
      .map((model) => model.text.trim());
    const loader = child(os, 'loader');
    const host = modes.find((mode) => mode.attributes.get('name') === 'host-model');
    const cpuFeatures = await readCpuFeatures(libvirt, host, { arch, virtType, ...options });
    found.push({
      arch,
      domainType: virtType,
      ...named('emulator', textOf(child(root, 'path'))),
      machineTypes: machineTypes(capabilities, arch).slice(0, 4096),
      maxVcpus: Number(child(root, 'vcpu')?.attributes.get('max') ?? 0),
      cpuModels: models.slice(0, 4096),
      ...(cpuFeatures === undefined ? {} : { cpuFeatures }),
      firmware: enumValues(os, 'firmware'),
      secureBoot: enumValues(loader, 'secure').includes('yes'),
      devices: deviceValues(child(root, 'devices')),
      features: (child(root, 'features')?.children ?? [])
        .filter((feature) => feature.attributes.get('supported') === 'yes')
        .map((feature) => feature.name),
    });
  }
  return found;
}

/** The features of the CPU that `host-model` stands for, those of its model included; undefined when they are not known. */
async function readCpuFeatures(
  libvirt: Libvirt,
  host: XmlElement | undefined,
  options: DomainCapabilitiesOptions,
): Promise<string[] | undefined> {
  const model = textOf(child(host, 'model'));
  if (host?.attributes.get('supported') !== 'yes' || model === '') return undefined;
  const feature = children(host, 'feature').map(({ attributes }) => ({
    name: attributes.get('name') ?? '',
    policy: attributes.get('policy') as 'require' | 'disable' | undefined,
  }));
  const xml = render('domain', { cpu: { model: { value: model }, feature } }, [], { pretty: false });
  const cpu = xml.slice(xml.indexOf('<cpu'), xml.lastIndexOf('</domain>'));
  try {
    const expanded = await libvirt.node.baselineCpu([cpu], { ...options, expandFeatures: true });
    return children(parseElement(expanded, { maxBytes: maxReportedBytes }), 'feature')
      .filter(({ attributes }) => attributes.get('policy') !== 'disable')
      .map(({ attributes }) => attributes.get('name') ?? '')
      .slice(0, 2048);
  } catch (error) {
    // Not for this architecture, or by an older QEMU: then its features are not held against the node.
    if (error instanceof LibvirtError) return undefined;
    throw error;
  }
}

function deviceValues(devices: XmlElement | undefined): Record<string, string[]> {
  const values: Record<string, string[]> = {};
  for (const device of devices?.children ?? []) {
    if (device.attributes.get('supported') !== 'yes') continue;
    for (const one of children(device, 'enum')) {
      const list = children(one, 'value').map((value) => value.text.trim());
      if (list.length > 0) values[`${device.name}.${one.attributes.get('name') ?? ''}`] = list;
    }
  }
  return values;
}

function enumValues(parent: XmlElement | undefined, name: string): string[] {
  const found = children(parent, 'enum').find((one) => one.attributes.get('name') === name);
  return children(found, 'value').map((value) => value.text.trim());
}

function archElements(capabilities: XmlElement, arch: string): XmlElement[] {
  return children(capabilities, 'guest')
    .map((guest) => child(guest, 'arch'))
    .filter((one): one is XmlElement => one?.attributes.get('name') === arch);
}

function emulatorOf(capabilities: XmlElement, arch: string): string | undefined {
  const emulator = textOf(child(archElements(capabilities, arch)[0], 'emulator'));
  return emulator === '' ? undefined : emulator;
}

function machineTypes(capabilities: XmlElement, arch: string): string[] {
  const types = archElements(capabilities, arch).flatMap((one) => [
    ...children(one, 'machine'),
    ...children(one, 'domain').flatMap((domain) => children(domain, 'machine')),
  ]);
  return [...new Set(types.map((one) => one.text.trim()))];
}

async function identity(): Promise<{ machineID?: string; bootID?: string; osImage?: string }> {
  const read = async (path: string): Promise<string> => {
    try {
      return (await readFile(path, 'utf8')).trim();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    }
  };
  const osRelease = await read('/etc/os-release');
  const name = /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(osRelease)?.[1] ?? '';
  return {
    ...named('machineID', await read('/etc/machine-id')),
    ...named('bootID', await read('/proc/sys/kernel/random/boot_id')),
    ...named('osImage', name),
  };
}

function addresses(): { type: 'Hostname' | 'InternalIP'; address: string }[] {
  const ips = Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).filter(({ internal, address }) => !internal && !address.startsWith('fe80:')),
  );
  return [
    { type: 'Hostname', address: hostname() },
    ...ips.slice(0, 16).map(({ address }) => ({ type: 'InternalIP' as const, address })),
  ];
}

function archName(): string {
  const names: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };
  return names[nodeArch()] ?? nodeArch();
}

function named<K extends string>(key: K, value: string): { [P in K]?: string } {
  return value === '' ? {} : ({ [key]: value } as { [P in K]?: string });
}

function child(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((one) => one.name === name);
}

function children(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  return element?.children.filter((one) => one.name === name) ?? [];
}

function textOf(element: XmlElement | undefined): string {
  return element?.text.trim() ?? '';
}
