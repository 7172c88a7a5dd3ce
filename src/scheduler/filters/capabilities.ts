import type { MachineInfo } from '../machine-info.ts';
import type { Capability, NodeInfo } from '../node-info.ts';
import type { Failure, Filter } from '../plugin.ts';

/**
 * Architecture, domain type, machine type, CPU and firmware, by what the node's libvirt says it can
 * (virConnectGetDomainCapabilities). What a node does not tell is not held against it: libvirt has the last word.
 */
export const capabilities: Filter = (machine) => {
  const checks = [checkMachineType, checkCpu, checkFirmware, checkDevices];
  const domain = machine.spec.domain ?? {};
  const arch = domain.os?.type?.arch;
  return (node) => {
    const { traits } = node;
    if (traits.capabilities.length === 0) {
      if (arch !== undefined && traits.arch !== '' && arch !== traits.arch)
        return { reason: `not of architecture ${arch}` };
      return undefined;
    }
    const wanted = arch ?? traits.arch;
    const ofArch = traits.capabilities.filter((one) => one.arch === wanted);
    if (ofArch.length === 0) return { reason: `not of architecture ${wanted}` };
    const found = capabilityFor(domain.type, ofArch, node);
    if ('reason' in found) return found;
    for (const check of checks) {
      const failure = check(machine, found);
      if (failure !== undefined) return failure;
    }
    return undefined;
  };
};

/** What a machine runs on: KVM, or where it cannot be used and emulation is allowed, QEMU alone. */
function capabilityFor(
  asked: string | undefined,
  ofArch: readonly Capability[],
  { traits }: NodeInfo,
): Capability | Failure {
  const type = asked ?? 'kvm';
  const find = (domainType: string): Capability | undefined => ofArch.find((one) => one.domainType === domainType);
  if (type !== 'kvm') return find(type) ?? { reason: `without domains of type ${type}` };
  const native = find('kvm');
  if (native !== undefined && traits.kvmUsable) return native;
  const emulated = find('qemu');
  if (traits.allowEmulation && emulated !== undefined) return emulated;
  return { reason: 'where KVM cannot be used (spec.allowEmulation of the Hypervisor is not set)' };
}

function checkMachineType({ spec }: MachineInfo, { machineTypes, maxVcpus }: Capability): Failure | undefined {
  const type = spec.domain?.os?.type?.machine;
  if (type !== undefined && machineTypes.size > 0 && !machineTypes.has(type)) {
    return { reason: `without machine type ${type}` };
  }
  const cpus = spec.domain?.vcpu?.value ?? 1;
  return maxVcpus > 0 && cpus > maxVcpus ? { reason: `limited to ${maxVcpus} CPUs a machine` } : undefined;
}

function checkCpu({ spec }: MachineInfo, { cpuModels, cpuFeatures }: Capability): Failure | undefined {
  const cpu = spec.domain?.cpu;
  const model = cpu?.model?.value;
  const isExact = cpu?.mode === undefined || cpu.mode === 'custom';
  // libvirt takes the nearest model itself where that is allowed.
  if (
    isExact &&
    model !== undefined &&
    cpu?.model?.fallback !== 'allow' &&
    cpuModels.size > 0 &&
    !cpuModels.has(model)
  ) {
    return { reason: `without CPU model ${model}` };
  }
  if (cpuFeatures === undefined) return undefined;
  const missing = cpu?.feature?.find(({ policy, name = '' }) => policy === 'require' && !cpuFeatures.has(name));
  return missing === undefined ? undefined : { reason: `without CPU feature ${missing.name ?? ''}` };
}

function checkFirmware({ spec }: MachineInfo, { firmware, secureBoot }: Capability): Failure | undefined {
  const os = spec.domain?.os;
  if (os?.firmware === 'efi' && firmware !== undefined && !firmware.includes('efi')) {
    return { reason: 'without UEFI firmware' };
  }
  const features = os?.firmwareConfig?.feature ?? [];
  const secure =
    os?.loader?.secure === true || features.some((one) => one.name === 'secure-boot' && one.enabled === true);
  return secure && secureBoot === false ? { reason: 'without firmware for Secure Boot' } : undefined;
}

function checkDevices({ spec }: MachineInfo, { devices }: Capability): Failure | undefined {
  const types = devices['graphics.type'];
  if (types === undefined) return undefined;
  const missing = spec.domain?.devices?.graphics?.find(({ type }) => type !== undefined && !types.includes(type));
  return missing === undefined ? undefined : { reason: `without ${String(missing.type)} graphics` };
}
