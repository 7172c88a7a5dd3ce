/**
 * Our element in a domain's `<metadata>`: proof of whose domain it is, and what an executor that starts with nothing needs
 * to go on.
 *
 *   definition:  <machine xmlns="https://virtctl.dev/domain/1" namespace name uid generation encoding>JSON</machine>
 *   running:     the same as it was at the start, beside  <boot xmlns="https://virtctl.dev/boot/1" id at>JSON</boot>
 *
 * Attributes name the machine, so that `virsh dumpxml` shows it; the rest is JSON, compressed when it is large. Values of
 * secrets are never inside.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { readMarkedMetadata, type MarkedMetadata } from './marked-metadata.ts';
import { isList, isObject, type Data, type DataObject } from './same-value.ts';

/** The namespace of the element that names the machine. */
export const machineNamespace = 'https://virtctl.dev/domain/1';
/** The namespace of the element that marks a boot. */
export const bootNamespace = 'https://virtctl.dev/boot/1';

/** A field that libvirt did not keep so, or that differs in a running domain from its start on. */
export interface KnownDifference {
  readonly path: string;
  /** As JSON. */
  readonly to?: string | undefined;
  /** As JSON. */
  readonly from?: string | undefined;
}

/** What a domain's definition carries. */
export interface MachineMark {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  /** The object's spec that was applied, for rebuilding lost objects. */
  readonly spec: Data;
  /** The object's labels and annotations, for rebuilding it; empty where it has none. */
  readonly metadata: MarkedMetadata;
  /** The domain that was asked for: what spec, its volumes and interfaces came to. */
  readonly applied: DataObject;
  /** What libvirt did not keep of it. */
  readonly ignored: readonly KnownDifference[];
}

/** What a running domain carries. */
export interface BootMark {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** What differed from the definition right after the start: libvirt's own doing. */
  readonly baseline: readonly KnownDifference[];
}

/** Larger JSON is compressed: it is kept by libvirtd and sent with every description of the domain. */
const compressAboveBytes = 4096;
/** No mark that we write is larger when inflated; what is larger was not written by us. */
const maxInflatedBytes = 8 * 1024 * 1024;

/** The mark's attributes and text; {@link markXml} makes XML of it. */
export interface MarkElement {
  readonly name: 'machine' | 'boot';
  readonly namespace: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly text: string;
}

/** The element of a definition. */
export function machineElement(mark: MachineMark): MarkElement {
  const { namespace, name, uid, generation, ...rest } = mark;
  const secretFree = { ...rest, spec: withoutSecrets(rest.spec), applied: withoutSecrets(rest.applied) };
  const { encoding, text } = encodeMark(JSON.stringify(secretFree));
  return {
    name: 'machine',
    namespace: machineNamespace,
    attributes: { namespace, name, uid, generation: String(generation), encoding },
    text,
  };
}

/** The element of a running domain. */
export function bootElement(mark: BootMark): MarkElement {
  const { encoding, text } = encodeMark(JSON.stringify({ baseline: mark.baseline }));
  return {
    name: 'boot',
    namespace: bootNamespace,
    attributes: { id: mark.id, at: new Date(mark.at).toISOString(), encoding },
    text,
  };
}

/**
 * Reads the element of a definition.
 *
 * @returns undefined when it is not ours or was damaged: then nothing is known to have been applied.
 */
export function readMachineMark(attributes: Readonly<Record<string, string>>, text: string): MachineMark | undefined {
  const { namespace, name, uid } = attributes;
  if (namespace === undefined || name === undefined || uid === undefined) return undefined;
  const content = decodeMark(attributes['encoding'], text);
  const applied = isObject(content) ? content['applied'] : undefined;
  const ignored = isObject(content) ? content['ignored'] : undefined;
  return {
    ...{ namespace, name, uid },
    generation: Number(attributes['generation'] ?? 0),
    spec: isObject(content) ? (content['spec'] ?? {}) : {},
    metadata: readMarkedMetadata(isObject(content) ? content['metadata'] : undefined),
    applied: isObject(applied) ? applied : {},
    ignored: knownDifferences(ignored),
  };
}

/** Reads the element of a running domain; undefined when it is not ours. */
export function readBootMark(attributes: Readonly<Record<string, string>>, text: string): BootMark | undefined {
  const { id, at } = attributes;
  if (id === undefined || at === undefined) return undefined;
  const content = decodeMark(attributes['encoding'], text);
  return {
    id,
    at: Date.parse(at) || 0,
    baseline: knownDifferences(isObject(content) ? content['baseline'] : undefined),
  };
}

/** Differences as a mark has them. */
export function knownDifferences(value: Data | undefined): KnownDifference[] {
  if (!isList(value)) return [];
  return value.flatMap((entry): KnownDifference[] => {
    if (!isObject(entry) || typeof entry['path'] !== 'string') return [];
    const text = (key: string): string | undefined => (typeof entry[key] === 'string' ? entry[key] : undefined);
    return [{ path: entry['path'], to: text('to'), from: text('from') }];
  });
}

/** JSON as the text of a mark. */
export function encodeMark(json: string): { encoding: string; text: string } {
  if (Buffer.byteLength(json) <= compressAboveBytes && isXmlText(json)) return { encoding: 'json', text: json };
  return { encoding: 'deflate', text: deflateRawSync(json).toString('base64') };
}

/** The JSON of a mark's text; undefined when somebody edited it. */
export function decodeMark(encoding: string | undefined, text: string): Data | undefined {
  try {
    const json =
      encoding === 'deflate'
        ? inflateRawSync(Buffer.from(text, 'base64'), { maxOutputLength: maxInflatedBytes }).toString('utf8')
        : text;
    return JSON.parse(json) as Data;
  } catch (error) {
    // Somebody edited it. Nothing is lost but the memory of what was applied: fields that spec drops now will stay.
    if (error instanceof SyntaxError || error instanceof RangeError || error instanceof Error) return undefined;
    throw error;
  }
}

/** Whether XML 1.0 can carry a text unchanged: JSON escapes control characters, but not U+FFFE, or half a pair. */
function isXmlText(text: string): boolean {
  return !/[\uFFFE\uFFFF]|[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(text);
}

/** Members that hold a secret's value wherever they occur in a domain, and the texts of cloud-init. */
const secretKeys = new Set(['passwd', 'password', 'userData', 'networkData', 'metaData']);

/** A copy in which the values of secrets are replaced: that a field was set is remembered, not to what. */
export function withoutSecrets<T extends Data>(value: T): T {
  return strip(value) as T;
}

function strip(value: Data): Data {
  if (isList(value)) return value.map(strip);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]): [string, Data][] => {
      if (member === undefined) return [];
      return [[key, secretKeys.has(key) && typeof member === 'string' ? '(not kept)' : strip(member)]];
    }),
  );
}
