/** What `virtctl create vm` makes of its flags: a VirtualMachine, with everything that is added by default in it. */
import { withDefaults } from '../../api/defaults.ts';
import { apiVersion } from '../../api/meta.ts';
import type { CloudInit, NetworkInterface, RunStrategy, VirtualMachine, Volume } from '../../api/virtual-machine.ts';
import { UsageError } from '../../base/errors.ts';
import type { Domain } from '../../model/types.gen.ts';
import { memoryOfBytes } from '../memory-size.ts';
import { assertLabel, assertObjectName } from '../object-name.ts';
import { booleanField, integerField, parseFields } from './flag-fields.ts';

/** The flags of `virtctl create vm`; files are read already. */
export interface MachineFlags {
  readonly cpus: number;
  /** Bytes. */
  readonly memory: number;
  readonly arch?: string;
  readonly machine?: string;
  readonly domainType?: 'kvm' | 'qemu';
  readonly cpuModel?: string;
  readonly firmware?: 'bios' | 'efi' | 'uefi';
  readonly disk?: readonly string[];
  readonly cdrom?: readonly string[];
  readonly interface?: readonly string[];
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
  readonly runStrategy?: RunStrategy;
  /** undefined: neither --start nor --no-start. */
  readonly start?: boolean;
  readonly node?: string;
  readonly label?: readonly string[];
  readonly annotation?: readonly string[];
  readonly description?: string;
  readonly paused?: boolean;
}

/** What files say: cloud-init and keys. */
export interface MachineFiles {
  readonly cloudInit: CloudInit | undefined;
  /** Public keys, one a string. */
  readonly sshKeys: readonly string[];
}

/**
 * Makes the manifest of a machine.
 *
 * @throws UsageError for flags that make no sense.
 */
export function machineManifest(
  name: string,
  namespace: string,
  flags: MachineFlags,
  files: MachineFiles,
): VirtualMachine {
  if (flags.node !== undefined) assertObjectName(flags.node, '--node');
  // QEMU starts with neither where it has no kernel to give them to.
  if (flags.kernel === undefined && (flags.initrd ?? flags.cmdline) !== undefined) {
    throw new UsageError('--initrd and --cmdline go with --kernel');
  }
  const volumes = [
    ...(flags.disk ?? []).map(diskVolume),
    ...(flags.cdrom ?? []).map(cdromVolume),
    ...cloudInitVolume(files),
  ];
  const interfaces = (flags.interface ?? []).map(networkInterface);
  const { os, ...domain } = domainOf(flags);
  return withDefaults({
    apiVersion,
    kind: 'VirtualMachine',
    metadata: {
      name,
      namespace,
      ...optional('labels', pairs('--label', flags.label)),
      ...optional('annotations', pairs('--annotation', flags.annotation)),
    },
    spec: {
      runStrategy: runStrategyOf(flags),
      ...optional('startPaused', flags.paused),
      ...optional('nodeName', flags.node),
      ...(volumes.length === 0 ? {} : { volumes: distinct('--disk', volumes) }),
      ...(interfaces.length === 0 ? {} : { interfaces: distinct('--interface', interfaces) }),
      domain: { ...domain, os },
    },
  });
}

function runStrategyOf({ runStrategy, start }: MachineFlags): RunStrategy {
  if (start === true && runStrategy === 'Halted')
    throw new UsageError('--start does not go with --run-strategy Halted');
  if (start === false && runStrategy !== undefined && runStrategy !== 'Halted' && runStrategy !== 'Manual') {
    throw new UsageError(`--no-start does not go with --run-strategy ${runStrategy}`);
  }
  return runStrategy ?? (start === false ? 'Halted' : 'Always');
}

function domainOf(flags: MachineFlags): Domain & { os: NonNullable<Domain['os']> } {
  const isHostMode = /^(host-passthrough|host-model|maximum)$/.test(flags.cpuModel ?? '');
  const machine = {
    type: {
      ...optional('arch', flags.arch),
      ...optional('machine', flags.machine),
      value: 'hvm',
    } as NonNullable<NonNullable<Domain['os']>['type']>,
    ...(flags.firmware === undefined
      ? {}
      : { firmware: flags.firmware === 'bios' ? ('bios' as const) : ('efi' as const) }),
    ...optional('kernel', flags.kernel),
    ...optional('initrd', flags.initrd),
    ...optional('cmdline', flags.cmdline),
  };
  const cpu = isHostMode
    ? { mode: flags.cpuModel }
    : { mode: 'custom', match: 'exact', model: { fallback: 'forbid', value: flags.cpuModel } };
  return {
    ...optional('type', flags.domainType),
    ...optional('description', flags.description),
    memory: memoryOfBytes(flags.memory),
    vcpu: { value: flags.cpus },
    os: machine,
    ...(flags.cpuModel === undefined ? {} : { cpu: cpu as NonNullable<Domain['cpu']> }),
  };
}

const diskKeys = [
  ...(['disk', 'image', 'path', 'empty', 'size', 'name', 'format', 'bus', 'dev', 'cache', 'serial', 'boot'] as const),
  ...(['readonly', 'shareable', 'cdrom'] as const),
];

function diskVolume(text: string, index: number): Volume {
  const fields = parseFields('--disk', text, diskKeys, (word) => (word.startsWith('/') ? 'path' : 'disk'));
  const empty = fields.empty ?? fields.size;
  const sources = [fields.disk, fields.image, fields.path, empty].filter((one) => one !== undefined);
  if (sources.length !== 1) throw new UsageError(`--disk ${text}: give one of disk, image, path and empty`);
  const readOnly = booleanField('--disk readonly', fields.readonly);
  const target = {
    ...optional('dev', fields.dev),
    ...optional('bus', fields.bus as NonNullable<Volume['target']>['bus']),
  };
  return {
    name: fields.name ?? (fields.disk ?? fields.image ?? `disk-${index}`).replaceAll('.', '-'),
    ...optional('virtualDisk', fields.disk),
    ...optional('virtualImage', fields.image),
    ...(fields.path === undefined ? {} : { hostPath: { path: fields.path, ...optional('format', fields.format) } }),
    ...(empty === undefined
      ? {}
      : { emptyDisk: { capacity: empty, ...optional('format', fields.format as 'qcow2' | 'raw' | undefined) } }),
    ...(Object.keys(target).length === 0 ? {} : { target }),
    ...optional('bootOrder', integerField('--disk boot', fields.boot)),
    ...optional('cache', fields.cache as Volume['cache']),
    ...optional('serial', fields.serial),
    ...optional('readOnly', readOnly),
    ...optional('shareable', booleanField('--disk shareable', fields.shareable)),
    ...optional('cdrom', booleanField('--disk cdrom', fields.cdrom)),
  };
}

function cdromVolume(text: string, index: number): Volume {
  const fields = parseFields('--cdrom', text, ['image', 'disk', 'path', 'name', 'bus', 'boot'], (word) =>
    word.startsWith('/') ? 'path' : 'image',
  );
  const sources = [fields.image, fields.disk, fields.path].filter((one) => one !== undefined);
  if (sources.length !== 1) throw new UsageError(`--cdrom ${text}: give one of image, disk and path`);
  return {
    name: fields.name ?? `cdrom-${index}`,
    ...optional('virtualImage', fields.image),
    ...optional('virtualDisk', fields.disk),
    ...(fields.path === undefined ? {} : { hostPath: { path: fields.path } }),
    cdrom: true,
    ...(fields.bus === undefined ? {} : { target: { bus: fields.bus as NonNullable<Volume['target']>['bus'] } }),
    ...optional('bootOrder', integerField('--cdrom boot', fields.boot)),
  };
}

const interfaceKeys = ['network', 'bridge', 'direct', 'user', 'name', 'model', 'mac', 'ip', 'mode', 'boot'] as const;

function networkInterface(text: string, index: number): NetworkInterface {
  const fields = parseFields('--interface', text, interfaceKeys, () => 'network');
  const sources = [fields.network, fields.bridge, fields.direct, fields.user].filter((one) => one !== undefined);
  if (sources.length !== 1) throw new UsageError(`--interface ${text}: give one of network, bridge, direct and user`);
  const mode = fields.mode as NonNullable<NetworkInterface['direct']>['mode'];
  return {
    name: fields.name ?? `eth${index}`,
    ...optional('virtualNetwork', fields.network),
    ...optional('bridge', fields.bridge),
    ...(fields.direct === undefined ? {} : { direct: { dev: fields.direct, ...optional('mode', mode) } }),
    ...(fields.user === undefined ? {} : { user: {} }),
    ...optional('model', fields.model),
    ...optional('mac', fields.mac),
    ...optional('ip', fields.ip),
    ...optional('bootOrder', integerField('--interface boot', fields.boot)),
  };
}

/** Keys go to the meta data, where every user data can stand beside them. */
function cloudInitVolume({ cloudInit, sshKeys }: MachineFiles): Volume[] {
  if (cloudInit === undefined && sshKeys.length === 0) return [];
  const keys = `public-keys:\n${sshKeys.map((key) => `  - ${JSON.stringify(key)}\n`).join('')}`;
  const metaData = `${cloudInit?.metaData ?? ''}${sshKeys.length === 0 ? '' : keys}`;
  return [{ name: 'cloud-init', cloudInit: { ...cloudInit, ...(metaData === '' ? {} : { metaData }) } }];
}

function pairs(flag: string, texts: readonly string[] | undefined): Record<string, string> | undefined {
  if (texts === undefined || texts.length === 0) return undefined;
  return Object.fromEntries(
    texts
      .flatMap((text) => (flag === '--label' ? text.split(',') : [text]))
      .map((text) => {
        const equals = text.indexOf('=');
        if (equals <= 0) throw new UsageError(`${flag} ${text}: expected KEY=VALUE`);
        const [key, value] = [text.slice(0, equals), text.slice(equals + 1)];
        assertLabel(flag, key, flag === '--label' ? value : undefined);
        return [key, value];
      }),
  );
}

function distinct<T extends { readonly name: string }>(flag: string, entries: readonly T[]): readonly T[] {
  const seen = new Set<string>();
  for (const { name } of entries) {
    if (seen.has(name)) throw new UsageError(`${flag}: two are called "${name}"; give them names with name=…`);
    seen.add(name);
  }
  return entries;
}

function optional<Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } {
  return value === undefined ? {} : ({ [key]: value } as { [K in Key]?: Value });
}
