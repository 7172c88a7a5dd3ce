/**
 * Domains that carry our mark, and whose machine is gone: its object was deleted behind our back, or the control plane was
 * lost. They are only told of: `virtctl recover` brings their objects back, and nobody else touches them.
 */
import { machineNamespace } from '../virtual-machine/domain-metadata.ts';
import type { LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import type { HypervisorStatus } from '../../api/hypervisor.ts';
import { isNotFound, LibvirtError } from '../../libvirt/errors.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';
import { parseElement } from '../../xml/element.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** A domain without its machine, as status tells of it. */
export type Orphan = NonNullable<HypervisorStatus['orphans']>[number];

/** No more are told; the count in status is of all. */
export const maxToldOrphans = 256;

/**
 * Finds the orphans among a node's domains, sorted by name.
 *
 * @param isMachine Whether there is a VirtualMachine of this namespace and name.
 * @param ownNames Names of domains that machines of this node have: their marks need not be read.
 */
export async function findOrphans(
  domains: readonly Domain[],
  ownNames: ReadonlySet<string>,
  isMachine: (namespace: string, name: string) => boolean,
  options: LibvirtCallOptions,
): Promise<Orphan[]> {
  const found: Orphan[] = [];
  for (const domain of domains) {
    if (ownNames.has(domain.name)) continue;
    const owner = await ownerOf(domain, options);
    if (owner === undefined || isMachine(owner.namespace, owner.name)) continue;
    found.push({
      domain: domain.name,
      uuid: domain.uuid,
      namespace: owner.namespace,
      name: owner.name,
      running: domain.id !== undefined,
    });
  }
  return found.sort((a, b) => (a.domain < b.domain ? -1 : 1));
}

/** The machine that a domain's mark names; undefined where it has none. */
async function ownerOf(
  domain: Domain,
  options: LibvirtCallOptions,
): Promise<{ readonly namespace: string; readonly name: string } | undefined> {
  try {
    const xml = await domain.metadata({ type: 'element', uri: machineNamespace, ...options });
    const { attributes } = parseElement(xml, { maxBytes: maxReportedBytes });
    const [namespace, name] = [attributes.get('namespace'), attributes.get('name')];
    return namespace === undefined || name === undefined ? undefined : { namespace, name };
  } catch (error) {
    // It has none, is gone meanwhile, or its driver knows no metadata.
    if (isNotFound(error) || error instanceof LibvirtError) return undefined;
    throw error;
  }
}
