/**
 * A machine's domain on this host's libvirtd, for what needs the host and not the API: its console and its log. The
 * API says which domain it is; the connection to libvirt is local.
 */
import type { Command } from 'commander';
import type { Context } from './context.ts';
import { addKubeOptions, withKubeClient } from './kube-options.ts';
import type { KubeFlags } from './kube-options.ts';
import { resourceTypeOf } from './machine-verb.ts';
import { virtualMachineKind } from '../api/kinds.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import { analyse } from '../analyser/analyse.ts';
import { NotFoundError } from '../base/errors.ts';
import type { Domain } from '../libvirt/objects/domain.ts';
import { maxReportedBytes } from '../xml/reader.ts';
import type { Domain as DomainXml } from '../model/types.gen.ts';

/** The flags of a command that goes to the local libvirtd. */
export interface LocalFlags extends KubeFlags {
  readonly connect?: string;
}

/** Adds `--connect` and the server's flags. */
export function addLocalOptions(command: Command): void {
  command.option('-c, --connect <uri>', "this node's libvirt; else LIBVIRT_DEFAULT_URI, qemu:///system");
  addKubeOptions(command);
}

/** The URI of this host's libvirt. */
export function localUri(context: Context, flags: { readonly connect?: string }): string {
  const given = flags.connect ?? context.env['VIRTCTL_CONNECT'] ?? context.env['LIBVIRT_DEFAULT_URI'];
  return given === undefined || given === '' ? 'qemu:///system' : given;
}

/**
 * Runs `work` with a machine's domain and closes the connection after.
 *
 * @param name `web` or `vm/web`.
 * @throws NotFoundError when the machine does not exist, has no domain yet, or its domain is on another host.
 */
export async function withLocalDomain<T>(
  context: Context,
  name: string,
  flags: LocalFlags,
  work: (domain: Domain, machine: VirtualMachine) => Promise<T>,
): Promise<T> {
  const machine = await withKubeClient(context, flags, (client) =>
    client
      .resource<VirtualMachine>(resourceTypeOf(virtualMachineKind))
      .get({ namespace: client.namespace, name: name.replace(/^[^/]+\//, '') }, { signal: context.signal }),
  );
  const [{ openLibvirt }, { isNotFound }] = await Promise.all([
    import('../libvirt/libvirt.ts'),
    import('../libvirt/errors.ts'),
  ]);
  const uuid = machine.status?.domain?.uuid ?? machine.metadata.uid ?? '';
  const libvirt = await openLibvirt(localUri(context, flags), { signal: context.signal });
  try {
    const domain = await libvirt.domains.byUuid(uuid, { signal: context.signal }).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
      const node = machine.status?.nodeName ?? machine.spec.nodeName ?? '';
      throw new NotFoundError(`the domain of vm/${machine.metadata.name ?? ''} is not on this host`, {
        cause: error,
        hint: node === '' ? 'it has no node yet; see virtctl why' : `run this on node ${node}, or give --connect`,
      });
    });
    return await work(domain, machine);
  } finally {
    await libvirt.close();
  }
}

/** The file that libvirt keeps of the first serial port or console that has one (`<log file=…>`, or type `file`). */
export async function serialLogPath(domain: Domain, signal: AbortSignal): Promise<string | undefined> {
  const value: DomainXml = analyse(await domain.xml({ signal }), { maxBytes: maxReportedBytes }).value;
  const { serial = [], console: consoles = [] } = value.devices ?? {};
  for (const port of [...serial, ...consoles]) {
    if (port.log?.file !== undefined) return port.log.file;
    if (port.type === 'file' && port.source?.[0]?.path !== undefined) return port.source[0].path;
  }
  return undefined;
}
