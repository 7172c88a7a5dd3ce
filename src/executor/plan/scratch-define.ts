import { definitionXml } from '../virtual-machine/definition.ts';
import type { DomainView, LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import type { DataObject } from '../virtual-machine/same-value.ts';
import { analyse, type OverlayEntry } from '../../analyser/analyse.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { isUnsupported, LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { maxReportedBytes } from '../../xml/reader.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';

/** What scratch definitions are called; one that a killed process left behind is known by it. */
export const scratchPrefix = 'virtctl-plan-';

/**
 * Has libvirt parse, complete and check a definition as the executor would give it, under a random name and UUID, and takes
 * it away again at once, whatever happens. Nothing is started; what the definition names (disks, NVRAM, TPM state) is
 * neither made nor removed.
 *
 * @returns What libvirt made of it.
 * @throws LibvirtError when libvirt refuses it.
 */
export async function scratchDefine(
  libvirt: Libvirt,
  machine: VirtualMachine,
  wanted: DataObject,
  view: DomainView | undefined,
  newId: () => string,
  options: LibvirtCallOptions,
): Promise<{ readonly inactive: DataObject; readonly inactiveOverlay: readonly OverlayEntry[] }> {
  const uuid = newId();
  const xml = definitionXml(machine, wanted, view, { name: `${scratchPrefix}${uuid}`, uuid });
  let domain: Domain | undefined;
  try {
    domain = await libvirt.domains.defineXml(xml, options);
    const { value, overlay } = analyse(await domain.xml({ inactive: true, secure: true, ...options }), {
      maxBytes: maxReportedBytes,
    });
    const { name, uuid: own } = wanted;
    // Under the machine's own name from here on.
    return { inactive: { ...(value as DataObject), name, uuid: own }, inactiveOverlay: overlay };
  } finally {
    // Also when the answer to the define was lost, or the user interrupted: then by its UUID, without the signal.
    domain ??= await libvirt.domains.byUuid(uuid, { timeoutMs: 10_000 }).catch(() => undefined);
    if (domain !== undefined) await undefineScratch(domain);
  }
}

/** Takes a scratch definition away. Keeps NVRAM and TPM state: their paths may be those of the real machine. */
export async function undefineScratch(domain: Domain): Promise<void> {
  const options = { timeoutMs: 10_000 };
  try {
    await domain.undefine({ keepNvram: true, keepTpm: true, ...options });
  } catch (error) {
    const isFlag = isUnsupported(error) || (error instanceof LibvirtError && /flags?\b/.test(error.message));
    if (!isFlag) throw error;
    await domain.undefine({ keepNvram: true, ...options });
  }
}
