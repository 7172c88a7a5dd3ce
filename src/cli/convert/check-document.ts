import { renderLibvirt, toObject } from './convert-document.ts';
import { readLibvirt } from './libvirt-document.ts';
import type { DocumentKind } from '../../model/document-kind.ts';
import { xmlDifferences } from '../../xml/canonical.ts';
import { parseElement } from '../../xml/element.ts';
import type { InputDocument } from '../input/read-documents.ts';
import { readDocuments, XmlDocument } from '../input/read-documents.ts';
import { FailedError } from '../../base/errors.ts';
import { writeYaml } from '../yaml/write-yaml.ts';

/** One thing that is not the same after there and back. */
export interface Difference {
  readonly path: string;
  readonly message: string;
}

/**
 * Converts a document there and back, through the texts that `virtctl convert` would write, and compares.
 *
 * @returns Every difference: XML by the definition of docs/libvirt-xml.md, values by their paths.
 * @throws InvalidInputError when it cannot be converted at all.
 */
export function checkDocument(document: InputDocument, bare: boolean, kind: DocumentKind | undefined): Difference[] {
  const source = readLibvirt(document, kind);
  if (document instanceof XmlDocument) {
    const back = only(writeYaml(toObject(source, bare)));
    const xml = renderLibvirt(back, readLibvirt(back, source.kind));
    return xmlDifferences(parseElement(document.text), parseElement(xml));
  }
  const xml = only(renderLibvirt(document, source));
  const back = readLibvirt(xml);
  const found: Difference[] = [];
  if (back.kind !== source.kind) found.push({ path: source.path, message: `${source.kind} became ${back.kind}` });
  compare(source.value, back.value, source.path, found);
  // What an overlay adds may be in the tables: it comes back as a value then, and compares above as added.
  if (source.overlay.length === 0) compare([], back.overlay, source.overlayPath, found);
  return found;
}

function only(text: string): InputDocument {
  const [document] = [...readDocuments('(converted)', text)];
  if (document === undefined) throw new FailedError('nothing came out of the conversion');
  if (document instanceof Error) throw new FailedError('the conversion wrote what cannot be read', { cause: document });
  return document;
}

function compare(before: unknown, after: unknown, path: string, found: Difference[]): void {
  if (isNothing(before) && isNothing(after)) return;
  if (isContainer(before) && isContainer(after) && Array.isArray(before) === Array.isArray(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    for (const key of keys) {
      const inside = Array.isArray(before) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`;
      compare((before as Container)[key], (after as Container)[key], inside, found);
    }
    return;
  }
  if (isNothing(before)) found.push({ path, message: 'was added' });
  else if (isNothing(after)) found.push({ path, message: 'is missing' });
  else if (isContainer(before) || isContainer(after)) found.push({ path, message: 'became something else' });
  // "2" and 2 are the same text in XML.
  else if (String(before) !== String(after)) {
    found.push({ path, message: `${JSON.stringify(before)} became ${JSON.stringify(after)}` });
  }
}

type Container = Readonly<Record<string, unknown>>;

function isContainer(value: unknown): value is Container | readonly unknown[] {
  return typeof value === 'object' && value !== null;
}

/** Not there; an empty list writes nothing. */
function isNothing(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.length === 0);
}
