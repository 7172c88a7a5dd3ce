/** This host's libvirt, and which Hypervisor it is: for what goes through the host and not through the API. */
import type { Context } from './context.ts';
import { localUri, type LocalFlags } from './local-domain.ts';
import { resourceTypeOf } from './machine-verb.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { hypervisorKind } from '../api/kinds.ts';
import { NotFoundError, UnreachableError } from '../base/errors.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { Libvirt } from '../libvirt/libvirt.ts';
import type { XmlElement } from '../xml/element.ts';
import { maxReportedBytes } from '../xml/reader.ts';

/** The local libvirt and the node that it is. */
export interface LocalNode {
  readonly libvirt: Libvirt;
  readonly nodeName: string;
}

/**
 * Runs `work` with the local libvirt, and closes the connection after.
 *
 * @throws NotFoundError when the host is none of the cluster's nodes; what the connection throws.
 */
export async function withLocalNode<T>(
  context: Context,
  client: KubeClient,
  flags: LocalFlags,
  work: (node: LocalNode) => Promise<T>,
): Promise<T> {
  const [{ openLibvirt }, { parseElement }] = await Promise.all([
    import('../libvirt/libvirt.ts'),
    import('../xml/element.ts'),
  ]);
  const { signal } = context;
  const uri = localUri(context, flags);
  const nodes = async (): Promise<readonly Hypervisor[]> =>
    (await client.resource<Hypervisor>(resourceTypeOf(hypervisorKind)).listAll({ signal })).items;
  const libvirt = await openLibvirt(uri, { signal }).catch(async (error: unknown) => {
    if (!(error instanceof UnreachableError)) throw error;
    throw new UnreachableError(error.message, { cause: error.cause, hint: hintOf(await nodes()) });
  });
  try {
    const capabilities = parseElement(await libvirt.node.capabilities({ signal }), { maxBytes: maxReportedBytes });
    const uuid = textAt(capabilities, 'host', 'uuid');
    const items = await nodes();
    const found = items.find(({ status }) => status?.nodeInfo?.systemUUID === uuid);
    if (uuid === '' || found === undefined) {
      throw new NotFoundError(`the libvirt at ${uri} is none of the nodes`, {
        hint: hintOf(items),
      });
    }
    return await work({ libvirt, nodeName: found.metadata.name ?? '' });
  } finally {
    await libvirt.close();
  }
}

/** What to do on a machine that is no node. */
function hintOf(nodes: readonly Hypervisor[]): string {
  const names = nodes.map(({ metadata }) => metadata.name ?? '');
  const [name = 'NODE'] = names;
  const which = names.length === 0 ? '' : ` (${names.join(', ')})`;
  return (
    `run this on a node${which}, or reach its libvirt from here: --connect qemu+tls://${name}/system, or ` +
    `\`ssh -nNT -L /tmp/libvirt-sock:/run/libvirt/libvirt-sock root@${name}\` and ` +
    "--connect 'qemu+unix:///system?socket=/tmp/libvirt-sock'"
  );
}

function textAt(element: XmlElement, ...names: readonly string[]): string {
  let at: XmlElement | undefined = element;
  for (const name of names) at = at?.children.find((one) => one.name === name);
  return at?.text.trim() ?? '';
}
