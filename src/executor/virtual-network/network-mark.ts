/**
 * Our element in a network's `<metadata>`: proof of whose network it is, and what was asked for last.
 *
 *   <network xmlns="https://virtctl.dev/network/1" namespace name uid generation encoding>JSON</network>
 *
 * libvirt before 9.7 cannot change the metadata of a running network alone, so all of it is in the definition; also
 * `given`, what the running network was given since its start.
 */
import { decodeMark, encodeMark, knownDifferences, type KnownDifference } from '../virtual-machine/domain-metadata.ts';
import { isList, isObject, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { elementXml } from '../../convertor/element-xml.ts';
import { parseElement } from '../../xml/element.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** The namespace of the element. */
export const networkNamespace = 'https://virtctl.dev/network/1';

/** What a network's definition carries. */
export interface NetworkMark {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  /** The object's spec, for rebuilding lost objects. */
  readonly spec: Data;
  /** What was asked for: spec.network, and the addresses that machines of this node reserve. */
  readonly applied: DataObject;
  /** What the running network was given, as far as it may still have it. */
  readonly given: DataObject;
  /** What libvirt did not keep. */
  readonly ignored: readonly KnownDifference[];
  /** The restart that was asked for last and is done (the annotation). */
  readonly restartedAt: string | undefined;
}

/** The element, as XML. */
export function markXml(mark: NetworkMark): string {
  const { namespace, name, uid, generation, ...rest } = mark;
  const { encoding, text } = encodeMark(JSON.stringify(rest));
  const attributes = { namespace, name, uid, generation: String(generation), encoding };
  return elementXml({ name: 'network', namespace: networkNamespace, attributes, text });
}

/** The mark among a network's metadata; undefined when it is not ours. */
export function markOf(metadata: Data | undefined): NetworkMark | undefined {
  for (const xml of isList(metadata) ? metadata : []) {
    if (typeof xml !== 'string' || !xml.includes(networkNamespace)) continue;
    const element = parseElement(xml, { maxBytes: maxReportedBytes });
    if (element.name !== `{${networkNamespace}}network`) continue;
    const attribute = (name: string): string => element.attributes.get(name) ?? '';
    const content = decodeMark(attribute('encoding'), element.text);
    const member = (key: string): Data | undefined => (isObject(content) ? content[key] : undefined);
    const objectAt = (key: string): DataObject => {
      const value = member(key);
      return isObject(value) ? value : {};
    };
    const restartedAt = member('restartedAt');
    return {
      namespace: attribute('namespace'),
      name: attribute('name'),
      uid: attribute('uid'),
      generation: Number(attribute('generation')) || 0,
      spec: member('spec') ?? {},
      applied: objectAt('applied'),
      given: objectAt('given'),
      ignored: knownDifferences(member('ignored')),
      restartedAt: typeof restartedAt === 'string' ? restartedAt : undefined,
    };
  }
  return undefined;
}

/** The metadata that is other people's. */
export function foreignMetadata(metadata: Data | undefined): string[] {
  return (isList(metadata) ? metadata : []).filter(
    (xml): xml is string => typeof xml === 'string' && !xml.includes(networkNamespace),
  );
}
