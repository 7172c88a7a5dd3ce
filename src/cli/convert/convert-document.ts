import { documentKindOf, loneKey } from './libvirt-kinds.ts';
import type { LibvirtDocument } from './libvirt-document.ts';
import { readLibvirt } from './libvirt-document.ts';
import { toEnvelope } from '../../analyser/envelope.ts';
import { formatProblem, InvalidInputError } from '../../base/errors.ts';
import { render } from '../../convertor/render.ts';
import type { DocumentKind } from '../../model/document-kind.ts';
import type { InputDocument } from '../input/read-documents.ts';
import { writeYaml } from '../yaml/write-yaml.ts';
import { maxDocumentBytes } from '../../xml/reader.ts';

/** The formats that documents are written in. */
export const formats = ['yaml', 'json', 'xml'] as const;

/** One of {@link formats}. */
export type Format = (typeof formats)[number];

/** How documents are converted. */
export interface ConvertOptions {
  /** The default is the other direction: YAML for XML, XML for YAML and JSON. */
  readonly format: Format | undefined;
  /** Without the object of ours around it. */
  readonly bare: boolean;
  /** What documents without an object around them are, when their keys do not tell. */
  readonly kind: DocumentKind | undefined;
}

/** A converted document. */
export interface Converted {
  readonly format: Format;
  /** Of a YAML or JSON document. */
  readonly value: unknown;
  /** The document in its format, with a line break at the end. */
  readonly text: string;
  /** What did not fit into the result, for the user to know. */
  readonly warnings: readonly string[];
}

/**
 * Converts one document.
 *
 * @throws InvalidInputError with every problem and its place; nothing is half converted.
 */
export function convertDocument(document: InputDocument, options: ConvertOptions): Converted {
  const source = readLibvirt(document, options.kind);
  const format = options.format ?? (document.format === 'xml' ? 'yaml' : 'xml');
  if (format === 'xml') {
    const text = renderLibvirt(document, source);
    return { format, value: undefined, text, warnings: [...keptInOverlay(source), ...notInXml(document, source)] };
  }
  const value = toObject(source, options.bare);
  const yaml = format === 'yaml' || document.format === 'xml' ? writeYaml(value) : undefined;
  if (yaml !== undefined && document.format === 'xml') checkSize(document, yaml);
  const text = format === 'yaml' ? (yaml ?? writeYaml(value)) : `${JSON.stringify(value, undefined, 2)}\n`;
  return { format, value, text, warnings: keptInOverlay(source) };
}

/** A document's XML, with the places of the input in the errors. */
export function renderLibvirt(document: InputDocument, source: LibvirtDocument): string {
  try {
    const { kind, value, overlay, path, overlayPath } = source;
    const xml = render(kind, value, overlay, { path, overlayPath });
    return xml.endsWith('\n') ? xml : `${xml}\n`;
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    throw new InvalidInputError(document.problems(error.problems));
  }
}

/** What is written for a document as YAML or JSON. */
export function toObject(source: LibvirtDocument, bare: boolean): Readonly<Record<string, unknown>> {
  const { kind, value, overlay, object } = source;
  const rest = overlay.length === 0 ? {} : { overlay };
  if (bare && !looksLone(value)) return { ...value, ...rest };
  if (object !== undefined) return object;
  const alone = { [loneKey(kind)]: value, ...rest };
  return bare ? alone : { ...(toEnvelope(source) ?? alone) };
}

/** Whether a bare document would be taken for another one under its root element's name: a checkpoint with but a domain. */
function looksLone(value: Readonly<Record<string, unknown>>): boolean {
  const keys = Object.keys(value);
  return keys.length === 1 && documentKindOf(keys[0] ?? '') !== undefined;
}

function checkSize(document: InputDocument, yaml: string): void {
  const bytes = Buffer.byteLength(yaml);
  if (bytes <= maxDocumentBytes) return;
  const message = `the document has ${bytes} bytes as YAML; at most ${maxDocumentBytes} (128 KiB) are accepted`;
  throw new InvalidInputError(document.problems([{ path: '', message }]));
}

/** What of XML is no value by libvirt's schema is not lost, and worth knowing. */
function keptInOverlay({ overlayProblems, spellings }: LibvirtDocument): string[] {
  return [...overlayProblems, ...spellings].map((problem) => `${formatProblem(problem)}; it is kept in the overlay`);
}

/** Fields beside the libvirt document that make devices of it in a cluster and have no XML of their own. */
const clusterFields: readonly string[] = ['volumes', 'interfaces', 'source', 'image', 'cloudInit'];

function notInXml(document: InputDocument, { object }: LibvirtDocument): string[] {
  const spec = object?.['spec'];
  if (document.format === 'xml' || typeof spec !== 'object' || spec === null) return [];
  return Object.keys(spec)
    .filter((field) => clusterFields.includes(field))
    .map((field) => {
      const { line, column } = document.place(`spec.${field}`, 'key');
      return `${document.file}:${line}:${column}: spec.${field}: is resolved by the executor; the XML is without it`;
    });
}
