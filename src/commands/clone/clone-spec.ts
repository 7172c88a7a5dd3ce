/** What the spec of a machine's clone is; pure. */
import { parseDocument, isMap, isSeq } from 'yaml';
import type { CloudInit, VirtualMachineSpec, Volume } from '../../api/virtual-machine.ts';
import { ConflictError } from '../../base/errors.ts';

/** A clone's spec, and what the user should know of it. */
export interface ClonedSpec {
  readonly spec: VirtualMachineSpec;
  readonly notes: readonly string[];
}

/** Options of {@link clonedSpec}. */
export interface CloneOptions {
  /** The clone's name. */
  readonly name: string;
  /** The VirtualDisks of the clone, by those of the machine. */
  readonly disks: ReadonlyMap<string, string>;
  /** Left off. */
  readonly halted: boolean;
  readonly nodeName: string | undefined;
}

/**
 * The spec of a clone: the same hardware with disks of its own; nothing in it that can be there once only.
 *
 * @throws ConflictError when both would write to the same disk.
 */
export function clonedSpec(spec: VirtualMachineSpec, options: CloneOptions): ClonedSpec {
  const { name, disks, halted, nodeName } = options;
  const { deletionProtection: _guard, nodeName: _node, ...rest } = spec;
  const volumes = spec.volumes?.map((volume) => clonedVolume(volume, name, disks));
  const interfaces = spec.interfaces?.map(({ mac: _mac, ip: _ip, ...card }) => card);
  const hasCloudInit = spec.volumes?.some(({ cloudInit }) => cloudInit !== undefined) === true;
  const hasSecret = spec.volumes?.some(({ cloudInit }) => cloudInit?.secretRef !== undefined) === true;
  const notes = [
    ...(hasCloudInit ? [] : ['without cloud-init, the guest keeps its host name and machine id']),
    ...(hasSecret ? ['the user data of a Secret is not changed: what it says of the host name holds for both'] : []),
  ];
  return {
    spec: {
      ...rest,
      ...(halted ? { runStrategy: 'Halted' as const } : {}),
      ...(nodeName === undefined ? {} : { nodeName }),
      ...(volumes === undefined ? {} : { volumes }),
      ...(interfaces === undefined ? {} : { interfaces }),
      ...(spec.domain === undefined ? {} : { domain: clonedDomain(spec.domain) }),
    },
    notes,
  };
}

function clonedVolume(volume: Volume, name: string, disks: ReadonlyMap<string, string>): Volume {
  if (volume.hostPath !== undefined && volume.readOnly !== true && volume.cdrom !== true && volume.shareable !== true) {
    throw new ConflictError(`volume "${volume.name}" is ${volume.hostPath.path}, which both machines would write to`, {
      hint: 'make a VirtualDisk of it, with source.import.path',
    });
  }
  const own = volume.virtualDisk === undefined ? undefined : disks.get(volume.virtualDisk);
  return {
    ...volume,
    ...(own === undefined ? {} : { virtualDisk: own }),
    ...(volume.cloudInit === undefined ? {} : { cloudInit: clonedCloudInit(volume.cloudInit, name) }),
  };
}

type Domain = NonNullable<VirtualMachineSpec['domain']>;

/** Without what is there once only: names, UUIDs, addresses, ports, files that are written to. */
function clonedDomain(domain: Domain): Domain {
  const { name: _name, uuid: _uuid, genid, devices, ...rest } = domain;
  for (const disk of devices?.disk ?? []) {
    const file = disk.source?.file ?? disk.source?.dev;
    const isWritten = disk.readonly === undefined && disk.shareable === undefined && (disk.device ?? 'disk') === 'disk';
    if (file !== undefined && isWritten) {
      throw new ConflictError(
        `disk ${disk.target?.dev ?? ''} of spec.domain is ${file}, which both machines would write to`,
        {
          hint: 'make a VirtualDisk of it, with source.import.path, and name it in spec.volumes',
        },
      );
    }
  }
  return {
    ...rest,
    // Empty: libvirt makes another one.
    ...(genid === undefined ? {} : { genid: '' }),
    ...(devices === undefined
      ? {}
      : {
          devices: {
            ...devices,
            ...(devices.interface === undefined
              ? {}
              : { interface: devices.interface.map(({ mac: _mac, ...card }) => card) }),
            ...(devices.graphics === undefined
              ? {}
              : { graphics: devices.graphics.map(({ port: _port, tlsPort: _tls, websocket: _web, ...one }) => one) }),
          },
        }),
  };
}

/** Another host name and instance, and so a machine id, host keys and whatever else cloud-init makes once per instance. */
function clonedCloudInit(cloudInit: CloudInit, name: string): CloudInit {
  const { metaData, userData } = cloudInit;
  const meta = metaData?.replace(/^(instance-id|local-hostname):.*\n?/gm, '');
  return {
    ...cloudInit,
    ...(meta === undefined ? {} : { metaData: meta }),
    ...(userData === undefined ? {} : { userData: clonedUserData(userData, name) }),
  };
}

/** Once per instance: the id that the disk brought along belongs to another machine. */
const newMachineId = [
  'cloud-init-per',
  'instance',
  'virtctl-machine-id',
  'sh',
  '-c',
  'rm -f /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup',
];

function clonedUserData(userData: string, name: string): string {
  if (!userData.startsWith('#cloud-config')) return userData;
  const document = parseDocument(userData);
  if (document.errors.length > 0 || (document.contents !== null && !isMap(document.contents))) return userData;
  if (document.has('hostname')) document.set('hostname', name);
  const fqdn = document.get('fqdn');
  if (typeof fqdn === 'string') document.set('fqdn', [name, ...fqdn.split('.').slice(1)].join('.'));
  const before = document.get('bootcmd');
  const has = isSeq(before) && JSON.stringify(before.toJSON()).includes('virtctl-machine-id');
  if (!has) {
    const commands = isSeq(before) ? before.toJSON() : [];
    document.set('bootcmd', [newMachineId, ...commands]);
  }
  const text = document.toString();
  return text.startsWith('#cloud-config') ? text : `#cloud-config\n${text}`;
}
