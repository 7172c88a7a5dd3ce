/**
 * Reads XML as a stream of events; the only importer of saxes.
 *
 * Everything that reads XML goes through {@link readXml}: the analyser straight from the events, `element.ts` into a
 * tree for comparing. Limits and refusals (size, depth, DTD, encodings) are therefore in one place. Pure.
 */
import { SaxesParser, type SaxesTagNS } from 'saxes';
import { InvalidInputError } from '../base/errors.ts';
import { lineAndColumn } from './position.ts';

/** An element's start tag with its namespaces resolved. */
export type XmlTag = SaxesTagNS;

/** What {@link readXml} reports. Offsets count UTF-16 units from the start of the text. */
export interface XmlHandler {
  /** A start tag ends at `end` (after its `>`); its `<` is `tagStart(text, end)`. */
  open(tag: XmlTag, end: number): void;
  /** Text between tags, entities resolved. CDATA sections arrive the same way. May come in several pieces. */
  text(data: string): void;
  /** An element ends at `end`: after the `>` of its end tag, or of its empty-element tag. */
  close(end: number): void;
}

/** Limits of {@link readXml}. */
export interface XmlOptions {
  /** Named in errors; `-` for standard input. */
  readonly file?: string | undefined;
  /** A fragment: any number of elements and text at the top. */
  readonly fragment?: boolean;
  /** In UTF-8 bytes. */
  readonly maxBytes?: number;
}

/** A libvirt document of ours may have this many bytes (design section 4). */
export const maxDocumentBytes = 128 * 1024;
/** libvirt's own documents have about twelve levels; a chain of backing files has one for each. */
export const maxXmlDepth = 256;

/**
 * Reads a document and reports its tags and texts in order.
 * @throws InvalidInputError when it is not well-formed, too large, too deep, has a DTD or is not in UTF-8.
 */
export function readXml(text: string, handler: XmlHandler, options: XmlOptions = {}): void {
  const { file, fragment = false, maxBytes = maxDocumentBytes } = options;
  const fail = (offset: number, message: string): never => {
    throw new InvalidInputError([{ file, ...lineAndColumn(text, offset), path: '', message }]);
  };
  if (text.length > maxBytes || (text.length * 3 > maxBytes && utf8Length(text) > maxBytes)) {
    fail(0, `the document has ${utf8Length(text)} bytes; at most ${maxBytes} are accepted`);
  }
  const parser = new SaxesParser({ xmlns: true, position: false, fragment });
  let depth = 0;
  parser.on('error', (error) => {
    fail(parser.position, `not well-formed XML: ${error.message.replace(/^(?:undefined:)?\d+:\d+: /, '')}`);
  });
  parser.on('doctype', () => {
    fail(parser.position, 'a document type declaration (DTD) is refused: it could define entities');
  });
  parser.on('xmldecl', ({ encoding }) => {
    // eslint-disable-next-line no-control-regex -- the range of ASCII begins with control characters
    if (encoding !== undefined && !/^utf-?8$/i.test(encoding) && /[^\x00-\x7f]/.test(text)) {
      fail(0, `the encoding ${encoding} is not supported; expected UTF-8`);
    }
  });
  parser.on('opentag', (tag) => {
    depth += 1;
    if (depth > maxXmlDepth) fail(parser.position, `elements are nested deeper than ${maxXmlDepth} levels`);
    handler.open(tag, parser.position);
  });
  const onText = (data: string): void => {
    handler.text(data);
  };
  parser.on('text', onText);
  parser.on('cdata', onText);
  parser.on('closetag', () => {
    depth -= 1;
    handler.close(parser.position);
  });
  parser.write(text).close();
}

/** Where the tag that ends at `end` starts: a `<` cannot stand inside a tag. */
export function tagStart(text: string, end: number): number {
  return text.lastIndexOf('<', end - 1);
}

function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) bytes += unit < 0x800 ? 1 : unit >= 0xd800 && unit < 0xe000 ? 1 : 2;
  }
  return bytes;
}
