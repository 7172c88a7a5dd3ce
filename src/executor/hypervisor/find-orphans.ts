/**
 * Domains that carry our mark, and whose machine is gone: its object was deleted behind our back, or the control plane was
 * lost. There may be another machine of its name by now, which has another UUID and nothing to do with the domain. They are
 * only told of: `virtctl recover` brings their objects back, and nobody else touches them.
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

/** What a domain's mark says of its machine, and the UUID of the domain. */
export interface DomainOwner {
  readonly namespace: string;
  readonly name: string;
  /** That of the machine's object when the mark was written. */
  readonly uid: string;
  readonly domainUuid: string;
}

/** No more are told; the count in status is of all. */
export const maxToldOrphans = 256;

/**
 * Finds the orphans among a node's domains, sorted by name.
 *
 * @param isOwned Whether there is the VirtualMachine that a mark names.
 * @param ownUuids UUIDs of the domains that machines of this node have: their marks need not be read.
 */
export async function findOrphans(
  domains: readonly Domain[],
  ownUuids: ReadonlySet<string>,
  isOwned: (owner: DomainOwner) => boolean,
  options: LibvirtCallOptions,
): Promise<Orphan[]> {
  const found: Orphan[] = [];
  for (const domain of domains) {
    if (ownUuids.has(domain.uuid)) continue;
    const owner = await ownerOf(domain, options);
    if (owner === undefined || isOwned(owner)) continue;
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
async function ownerOf(domain: Domain, options: LibvirtCallOptions): Promise<DomainOwner | undefined> {
  try {
    const xml = await domain.metadata({ type: 'element', uri: machineNamespace, ...options });
    const { attributes } = parseElement(xml, { maxBytes: maxReportedBytes });
    const [namespace, name] = [attributes.get('namespace'), attributes.get('name')];
    if (namespace === undefined || name === undefined) return undefined;
    return { namespace, name, uid: attributes.get('uid') ?? '', domainUuid: domain.uuid };
  } catch (error) {
    // It has none, is gone meanwhile, or its driver knows no metadata.
    if (isNotFound(error) || error instanceof LibvirtError) return undefined;
    throw error;
  }
}
