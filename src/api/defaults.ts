import type { Domain } from '../model/types.gen.ts';
import type { VirtualMachine, VirtualMachineSpec, Volume } from './virtual-machine.ts';

/** The machine type that suits each architecture; libvirt's own choice for others. */
const machines: Readonly<Record<string, string>> = {
  x86_64: 'q35',
  i686: 'q35',
  aarch64: 'virt',
  riscv64: 'virt',
  ppc64le: 'pseries',
  s390x: 's390-ccw-virtio',
};

/**
 * What `virtctl create` and `virtctl apply` add to a machine that a person wrote, and show with `--dry-run`: the domain
 * type kvm, hvm on q35, ACPI, a serial console, virtio, and the run strategy. A domain with a UUID was taken from a
 * libvirt that has decided all this, and gets only what is missing for sure; so does one of another hypervisor.
 */
export function withDefaults(machine: VirtualMachine): VirtualMachine {
  return { ...machine, spec: withSpecDefaults(machine.spec) };
}

function withSpecDefaults(spec: VirtualMachineSpec): VirtualMachineSpec {
  const { volumes, interfaces } = spec;
  return {
    runStrategy: 'Always',
    terminationGracePeriodSeconds: 60,
    driftPolicy: 'Enforce',
    ...spec,
    ...(volumes === undefined
      ? {}
      : {
          volumes: volumes.map((volume) => ({
            ...volume,
            target: { ...volume.target, bus: volume.target?.bus ?? (isMedium(volume) ? 'sata' : 'virtio') },
          })),
        }),
    ...(interfaces === undefined
      ? {}
      : { interfaces: interfaces.map((one) => ({ ...one, model: one.model ?? 'virtio' })) }),
    domain: withDomainDefaults(spec.domain ?? {}),
  };
}

function withDomainDefaults(domain: Domain): Domain {
  const wasDumped = domain.uuid !== undefined;
  const type = domain.type ?? 'kvm';
  if (wasDumped || (type !== 'kvm' && type !== 'qemu')) return { ...domain, type };
  const given = domain.os?.type;
  const arch = given?.arch ?? 'x86_64';
  const machine = given?.machine ?? machines[arch];
  const osType = {
    ...given,
    arch,
    ...(machine === undefined ? {} : { machine }),
    value: given?.value ?? 'hvm',
  };
  const isX86 = arch === 'x86_64' || arch === 'i686';
  const devices = domain.devices ?? {};
  const hasConsole = devices.serial !== undefined || devices.console !== undefined;
  return {
    ...domain,
    type,
    os: { ...domain.os, type: osType },
    ...(domain.features === undefined && isX86 ? { features: { acpi: {}, apic: {} } } : {}),
    devices: hasConsole
      ? devices
      : { ...devices, serial: [{ type: 'pty' }], console: [{ type: 'pty', target: { type: 'serial' } }] },
  };
}

/** What becomes a CD-ROM drive, which virtio has none of: cloud-init's data does unless it is to be a disk. */
function isMedium({ cdrom, cloudInit }: Volume): boolean {
  return cdrom ?? cloudInit !== undefined;
}
