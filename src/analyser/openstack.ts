/** What OpenStack's nova says about a machine in its domain's metadata, as labels and annotations. */
import { InvalidInputError } from '../base/errors.ts';
import { parseElement, type XmlElement } from '../xml/element.ts';
import { labelValue } from './kubernetes-name.ts';

/** nova's namespaces, 1.0 and 1.1 and what follows (nova/virt/libvirt/config.py, NOVA_NS). */
const novaUri = 'http://openstack.org/xmlns/libvirt/nova/';
/** Where our labels and annotations for OpenStack are. */
const keyPrefix = 'openstack.virtctl.dev/';

/** Labels and annotations of an object; both may be empty. */
export interface OpenStackMetadata {
  /** Made valid: characters that a label value cannot have are hyphens, at most 63. */
  readonly labels: Readonly<Record<string, string>>;
  /** The same as nova wrote it. */
  readonly annotations: Readonly<Record<string, string>>;
}

/**
 * Reads nova's element among a domain's metadata.
 * @param pieces the domain's `metadata`
 * @param namespaces prefixes that are declared around the metadata
 */
export function openStackMetadata(
  pieces: readonly string[],
  namespaces: Readonly<Record<string, string>>,
): OpenStackMetadata {
  const annotations: Record<string, string> = {};
  for (const piece of pieces) {
    const instance = novaInstance(piece, namespaces);
    if (instance !== undefined) Object.assign(annotations, facts(instance));
  }
  const labels: Record<string, string> = {};
  for (const [key, text] of Object.entries(annotations)) {
    const value = labelValue(text);
    if (value !== undefined) labels[key] = value;
  }
  return { labels, annotations };
}

function novaInstance(piece: string, namespaces: Readonly<Record<string, string>>): XmlElement | undefined {
  if (!piece.includes('instance')) return undefined;
  try {
    const element = parseElement(piece, { namespaces });
    return element.name.startsWith(`{${novaUri}`) && local(element) === 'instance' ? element : undefined;
  } catch (error) {
    // Other people's XML may be anything; what cannot be read has nothing for us.
    if (error instanceof InvalidInputError) return undefined;
    throw error;
  }
}

function facts(instance: XmlElement): Record<string, string> {
  const owner = child(instance, 'owner');
  const user = owner && child(owner, 'user');
  const project = owner && child(owner, 'project');
  const flavor = child(instance, 'flavor');
  const root = child(instance, 'root');
  const found: Record<string, string | undefined> = {
    'instance-name': text(child(instance, 'name')),
    flavor: flavor?.attributes.get('name'),
    'flavor-id': flavor?.attributes.get('id'),
    project: text(project),
    'project-id': project?.attributes.get('uuid'),
    user: text(user),
    'user-id': user?.attributes.get('uuid'),
    image: root?.attributes.get('type') === 'image' ? root.attributes.get('uuid') : undefined,
    'creation-time': text(child(instance, 'creationTime')),
  };
  return Object.fromEntries(
    Object.entries(found).flatMap(([key, value]) =>
      value === undefined || value === '' ? [] : [[keyPrefix + key, value]],
    ),
  );
}

function child(element: XmlElement, name: string): XmlElement | undefined {
  return element.children.find((one) => local(one) === name && one.name.startsWith(`{${novaUri}`));
}

function local(element: XmlElement): string {
  return element.name.slice(element.name.indexOf('}') + 1);
}

function text(element: XmlElement | undefined): string | undefined {
  return element?.text.trim();
}
