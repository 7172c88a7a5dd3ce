import type { Command } from 'commander';
import { ConflictError, NotFoundError, UsageError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { readDevices, type DeviceFragment } from '../../cli/device-fragment.ts';
import { addExamples } from '../../cli/examples.ts';
import { addEditOptions, editMachine, type EditFlags, type MutableSpec } from '../../cli/machine-edit.ts';
import { addFilenameOption } from '../../cli/resources/resource-options.ts';
import { contains, strongName } from '../../executor/virtual-machine/list-identity.ts';
import type { Data } from '../../executor/virtual-machine/same-value.ts';

interface DeviceFlags extends EditFlags {
  readonly filename?: readonly string[];
}

/** `attach device VM -f FILE` and `detach device VM -f FILE`: any device, as libvirt's XML or in YAML. */
export function configureDevice(command: Command, context: Context, verb: 'attach' | 'detach'): void {
  command.argument('<vm>', 'the machine');
  addFilenameOption(command, "devices, as libvirt's XML or as below spec.domain.devices in YAML");
  addEditOptions(command);
  addExamples(command, [
    [`As \`virsh ${verb}-device\``, `virtctl ${verb} device web -f disk.xml`],
    [
      'From standard input, in YAML',
      `echo 'rng: {model: virtio, backend: {model: random, value: /dev/urandom}}' | virtctl ${verb} device web -f -`,
    ],
  ]);
  command.action(async (vm: string, flags: DeviceFlags) => {
    if (flags.filename === undefined) throw new UsageError('expected -f FILE');
    const devices = await readDevices(context, flags.filename);
    const kinds = devices.map(({ kind }) => kind).join(', ');
    await editMachine(context, vm, flags, `${kinds} ${verb}ed`, (spec) => {
      for (const device of devices) (verb === 'attach' ? add : remove)(spec, device);
    });
  });
}

type Devices = Record<string, Data | undefined>;

function devicesOf(spec: MutableSpec): Devices {
  const domain = (spec.domain ??= {});
  return (domain.devices ??= {});
}

function add(spec: MutableSpec, { kind, device, isList }: DeviceFragment): void {
  const devices = devicesOf(spec);
  const present = devices[kind];
  const value = device as Data;
  if (!isList) {
    if (present !== undefined) throw new ConflictError(`it has a ${kind} already, and can have only one`);
    devices[kind] = value;
    return;
  }
  const list = Array.isArray(present) ? (present as readonly Data[]) : [];
  const name = strongName(`devices.${kind}`, value);
  if (name !== undefined && list.some((one) => strongName(`devices.${kind}`, one) === name)) {
    throw new ConflictError(`there is a ${kind} "${name}" already`);
  }
  devices[kind] = [...list, value];
}

function remove(spec: MutableSpec, { kind, device, isList }: DeviceFragment): void {
  const devices = devicesOf(spec);
  const present = devices[kind];
  const value = device as Data;
  const path = `devices.${kind}`;
  const list = Array.isArray(present) ? (present as readonly Data[]) : present === undefined ? [] : [present];
  const name = strongName(path, value);
  const found = list.filter((one) =>
    name === undefined ? contains(path, value, one) : strongName(path, one) === name,
  );
  if (found.length === 0) {
    throw new NotFoundError(`there is no such ${kind} in spec.domain.devices`, {
      hint: "what came from spec.volumes or spec.interfaces goes with 'virtctl detach disk' and 'detach interface'",
    });
  }
  if (found.length > 1) throw new ConflictError(`${found.length} of its ${kind}s are like that; say more of it`);
  const rest = list.filter((one) => one !== found[0]);
  Object.assign(devices, { [kind]: isList && rest.length > 0 ? rest : undefined });
}
