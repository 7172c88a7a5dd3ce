import { documentKindOf, guessKinds, loneKey } from './libvirt-kinds.ts';
import type { OverlayEntry } from '../../analyser/analyse.ts';
import { analyse } from '../../analyser/analyse.ts';
import type { InputProblem } from '../../base/errors.ts';
import { InvalidInputError } from '../../base/errors.ts';
import { fromEnvelope } from '../../convertor/envelope.ts';
import type { DocumentKind } from '../../model/document-kind.ts';
import { envelopeRows } from '../../model/envelope-kind.ts';
import { nearestName } from '../../model/nearest.ts';
import { rootType } from '../../model/schema.ts';
import { validateDocument } from '../../model/validate.ts';
import { maxDocumentBytes } from '../../xml/reader.ts';
import type { InputDocument, XmlDocument } from '../input/read-documents.ts';
import type { ObjectDocument } from '../input/source-document.ts';
import { joinPath } from '../input/source-document.ts';
import { headProblems, schemaProblems } from '../object-problems.ts';
import { writeYaml } from '../yaml/write-yaml.ts';

/** A libvirt document, whatever it was written in. */
export interface LibvirtDocument {
  readonly kind: DocumentKind;
  readonly value: Readonly<Record<string, unknown>>;
  readonly overlay: readonly OverlayEntry[];
  /** Why something is in the overlay; empty for what is not XML. */
  readonly overlayProblems: readonly InputProblem[];
  /** Right values that are in the overlay for their spelling; empty for what is not XML. */
  readonly spellings: readonly InputProblem[];
  /** Where the value and the overlay stand in the input: `spec.domain`, `spec.overlay`. */
  readonly path: string;
  readonly overlayPath: string;
  /** The object of ours that it came in. */
  readonly object: Readonly<Record<string, unknown>> | undefined;
}

type Values = Readonly<Record<string, unknown>>;

/**
 * The libvirt document in an input, in any of the forms that virtctl writes: XML, an object of ours, a document under
 * its root element's name (`nwfilter`), or a bare one, whose kind its keys tell.
 *
 * @param kind What a bare document is, when the user says it.
 * @throws InvalidInputError with every problem and its place.
 */
export function readLibvirt(document: InputDocument, kind?: DocumentKind): LibvirtDocument {
  return document.format === 'xml' ? fromXml(document) : fromObject(document, kind);
}

function fromXml(document: XmlDocument): LibvirtDocument {
  try {
    const { kind, value, overlay, problems, spellings } = analyse(document.text);
    return {
      kind,
      value,
      overlay,
      overlayProblems: document.problems(problems),
      spellings: document.problems(spellings),
      path: '',
      overlayPath: 'overlay',
      object: undefined,
    };
  } catch (error) {
    if (error instanceof InvalidInputError) throw new InvalidInputError(document.problems(error.problems));
    throw error;
  }
}

function fromObject(document: ObjectDocument, kind: DocumentKind | undefined): LibvirtDocument {
  const { value } = document;
  const refuse = (path: string, message: string): InvalidInputError =>
    new InvalidInputError([document.problem(path, message)]);
  if (!isObject(value)) throw refuse('', 'expected an object of virtctl or a libvirt document');
  checkSize(document, refuse);
  const found =
    'apiVersion' in value || typeof value['kind'] === 'string'
      ? unwrap(document, value)
      : (lone(value, kind) ?? bare(value, kind, refuse));
  const problems =
    found.object === undefined ? validateDocument(found.kind, found.value, found.path) : schemaProblems(found.object);
  if (problems.length > 0) throw new InvalidInputError(document.problems(problems));
  const overlay = readOverlay(document, found.overlay, found.overlayPath);
  return { ...found, overlay, overlayProblems: [], spellings: [] };
}

type Found = Omit<LibvirtDocument, 'overlay' | 'overlayProblems' | 'spellings'> & { readonly overlay: unknown };

function checkSize(document: ObjectDocument, refuse: (path: string, message: string) => Error): void {
  // Of an item of a List, and of JSON with its blanks, only what it is as YAML counts.
  if (document.bytes !== undefined && document.bytes <= maxDocumentBytes) return;
  const bytes =
    document.format === 'yaml' && document.bytes !== undefined
      ? document.bytes
      : Buffer.byteLength(writeYaml(document.value));
  if (bytes > maxDocumentBytes) {
    throw refuse('', `the document has ${bytes} bytes as YAML; at most ${maxDocumentBytes} (128 KiB) are accepted`);
  }
}

/** Out of one of our objects. */
function unwrap(document: ObjectDocument, object: Values): Found {
  const head = headProblems(
    object,
    envelopeRows.map(({ kind }) => kind),
  );
  if (head.length > 0) throw new InvalidInputError(document.problems(head));
  try {
    const found = fromEnvelope(object);
    return { ...found, value: completed(found, object), overlayPath: 'spec.overlay', object };
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    throw new InvalidInputError(document.problems(error.problems));
  }
}

/**
 * What libvirt takes no document without, as the executor would fill it in: the name, of a domain
 * `<namespace>.<name>`, and a domain's type. libvirt's own documents have both.
 */
function completed(
  { kind, value, overlay }: Pick<LibvirtDocument, 'kind' | 'value' | 'overlay'>,
  { metadata }: Values,
): Values {
  const type = kind === 'domain' ? { type: 'kvm' } : {};
  // A name that libvirt's schema does not take is in the overlay.
  const hasName = overlay.some((entry) => entry.at === '' && entry.xml?.startsWith('<name') === true);
  const needsName = !hasName && rootType(kind).fields.get('name')?.required === true;
  if (!needsName || !isObject(metadata) || typeof metadata['name'] !== 'string') return { ...type, ...value };
  const { name, namespace } = metadata;
  const qualified = kind === 'domain' && typeof namespace === 'string' ? `${namespace}.${name}` : name;
  return { ...type, name: qualified, ...value };
}

/**
 * A document under its root element's name, alone but for an overlay. The same key may be all that a document of the
 * given kind has: a checkpoint's domain.
 */
function lone(value: Values, given: DocumentKind | undefined): Found | undefined {
  const keys = Object.keys(value).filter((key) => key !== 'overlay');
  const [key] = keys;
  const kind = key === undefined || keys.length > 1 ? undefined : documentKindOf(key);
  const inside = key === undefined ? undefined : value[key];
  if (key === undefined || kind === undefined || !isObject(inside)) return undefined;
  if (given !== undefined && given !== kind && rootType(given).fields.has(key)) return undefined;
  return { kind, value: inside, overlay: value['overlay'], path: key, overlayPath: 'overlay', object: undefined };
}

function bare(value: Values, given: DocumentKind | undefined, refuse: (path: string, message: string) => Error): Found {
  const { overlay, ...rest } = value;
  const kinds = given === undefined ? guessKinds(rest) : [given];
  const [kind] = kinds;
  if (kind === undefined) {
    throw refuse('', 'expected apiVersion and kind, or the keys of a libvirt document; none of the keys is one');
  }
  if (kinds.length > 1) {
    throw refuse('', `its keys fit ${kinds.join(', ')}: say which it is with --kind, or put it under ${loneKey(kind)}`);
  }
  return { kind, value: rest, overlay, path: '', overlayPath: 'overlay', object: undefined };
}

function readOverlay(document: ObjectDocument, overlay: unknown, path: string): readonly OverlayEntry[] {
  if (overlay === undefined || overlay === null) return [];
  const problems: InputProblem[] = [];
  const refuse = (at: string, message: string): void =>
    void problems.push(document.problem(joinPath(path, at), message));
  if (!Array.isArray(overlay)) {
    refuse('', 'expected a list of {at, xml} and {at, attributes}');
  } else {
    for (const [index, entry] of (overlay as readonly unknown[]).entries()) checkEntry(entry, `[${index}]`, refuse);
  }
  if (problems.length > 0) throw new InvalidInputError(problems);
  return overlay as readonly OverlayEntry[];
}

const overlayKeys = ['at', 'xml', 'attributes'];

function checkEntry(entry: unknown, at: string, refuse: (at: string, message: string) => void): void {
  if (!isObject(entry)) {
    refuse(at, 'expected an object with at, and xml or attributes');
    return;
  }
  for (const key of Object.keys(entry)) {
    if (overlayKeys.includes(key)) continue;
    const near = nearestName(key, overlayKeys);
    refuse(`${at}.${key}`, `unknown key${near === undefined ? '' : `; did you mean ${near}?`}`);
  }
  if (typeof entry['at'] !== 'string') refuse(`${at}.at`, 'expected the path of an element, as devices.disk[0]');
  const { xml, attributes } = entry;
  if ((xml === undefined) === (attributes === undefined)) refuse(at, 'expected either xml or attributes');
  if (xml !== undefined && typeof xml !== 'string') refuse(`${at}.xml`, 'expected a string of XML');
  if (attributes === undefined) return;
  if (!isObject(attributes)) refuse(`${at}.attributes`, 'expected an object of strings');
  else {
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value !== 'string') refuse(`${at}.attributes.${name}`, 'expected a string');
    }
  }
}

function isObject(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
