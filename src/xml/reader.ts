/**
 * Reads XML as a stream of events; the only importer of saxes.
 *
 * Everything that reads XML goes through {@link readXml}: the analyser straight from the events, `element.ts` into a
 * tree for comparing. Limits and refusals (size, depth, DTD, encodings) are therefore in one place. Pure.
 */
import { SaxesParser, type SaxesAttributeNS } from 'saxes';
import { InvalidInputError } from '../base/errors.ts';
import { lineAndColumn } from './position.ts';

/** An element's start tag with its namespaces resolved. Only valid during the call that it is passed to. */
export interface XmlTag {
  /** As written, with its prefix. */
  name: string;
  local: string;
  /** Empty for none. */
  uri: string;
  attributeCount: number;
  /** As written, namespace declarations included. The first `attributeCount` are this tag's. */
  readonly attributeNames: string[];
  readonly attributeValues: string[];
  /** By attribute, in a document that has any namespace declaration; else no attribute has a namespace. */
  attributeNamespaces: readonly AttributeNamespace[] | undefined;
}

/** An attribute's name in parts. */
export interface AttributeNamespace {
  readonly prefix: string;
  readonly local: string;
  /** Empty for none. */
  readonly uri: string;
}

/** The namespace of `xmlns` and `xmlns:prefix`. */
export const xmlnsUri = 'http://www.w3.org/2000/xmlns/';

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
  /** Prefixes that are declared around the text. */
  readonly namespaces?: Readonly<Record<string, string>>;
}

/** A libvirt document of ours may have this many bytes (design section 4). */
export const maxDocumentBytes = 128 * 1024;
/** What libvirt itself reports may be larger: it adds addresses and other people's metadata, and a host has many CPUs. */
export const maxReportedBytes = 16 * 1024 * 1024;
/** libvirt's own documents have about twelve levels; a chain of backing files has one for each. */
export const maxXmlDepth = 256;

/**
 * Reads a document and reports its tags and texts in order.
 * @throws InvalidInputError when it is not well-formed, too large, too deep, has a DTD or is not in UTF-8.
 */
export function readXml(text: string, handler: XmlHandler, options: XmlOptions = {}): void {
  const { file, fragment = false, maxBytes = maxDocumentBytes, namespaces } = options;
  const fail = (offset: number, message: string): never => {
    throw new InvalidInputError([{ file, ...lineAndColumn(text, offset), path: '', message }]);
  };
  if (text.length > maxBytes || (text.length * 3 > maxBytes && utf8Length(text) > maxBytes)) {
    fail(0, `the document has ${utf8Length(text)} bytes; at most ${maxBytes} are accepted`);
  }
  const tag: XmlTag = {
    name: '',
    local: '',
    uri: '',
    attributeCount: 0,
    attributeNames: [],
    attributeValues: [],
    attributeNamespaces: undefined,
  };
  const parser =
    namespaces !== undefined || text.includes('xmlns')
      ? namespaceParser(tag, fragment, namespaces)
      : plainParser(tag, fragment);
  let depth = 0;
  parser.onOpen = (): void => {
    depth += 1;
    if (depth > maxXmlDepth) fail(parser.position, `elements are nested deeper than ${maxXmlDepth} levels`);
    handler.open(tag, parser.position);
    tag.attributeCount = 0;
  };
  const onText = (data: string): void => {
    handler.text(data);
  };
  parser.on('text', onText);
  parser.on('closetag', () => {
    depth -= 1;
    handler.close(parser.position);
  });
  if (text.includes('<![CDATA[')) parser.on('cdata', onText);
  if (text.includes('<!DOCTYPE')) {
    parser.on('doctype', () => {
      fail(parser.position, 'a document type declaration (DTD) is refused: it could define entities');
    });
  }
  const encoding = /^\uFEFF?<\?xml[^>]*?\sencoding\s*=\s*["']([^"']*)/.exec(text)?.[1];
  // eslint-disable-next-line no-control-regex -- the range of ASCII begins with control characters
  if (encoding !== undefined && !/^utf-?8$/i.test(encoding) && /[^\x00-\x7f\uFEFF]/.test(text)) {
    fail(0, `the encoding ${encoding} is not supported; expected UTF-8`);
  }
  try {
    parser.write(text).close();
  } catch (error) {
    if (!(error instanceof NotWellFormed)) throw error;
    fail(parser.position, `not well-formed XML: ${error.message}`);
  }
}

/** What the parser throws; everything else comes from a handler. */
class NotWellFormed extends Error {}

/**
 * The parser. At most a handful of handlers are set on it: with more properties added from outside, V8 turns the object
 * into a dictionary, and reading takes four times as long.
 */
class Parser extends SaxesParser<{ xmlns: boolean; position: false; fragment: boolean }> {
  onOpen: () => void = () => undefined;

  constructor(xmlns: boolean, fragment: boolean, namespaces: Readonly<Record<string, string>> = {}) {
    super({ xmlns, position: false, fragment, ...(xmlns ? { additionalNamespaces: { ...namespaces } } : {}) });
  }

  override makeError(message: string): Error {
    return new NotWellFormed(message);
  }
}

/** Resolves namespaces. */
function namespaceParser(
  tag: XmlTag,
  fragment: boolean,
  namespaces: Readonly<Record<string, string>> | undefined,
): Parser {
  const parser = new Parser(true, fragment, namespaces);
  parser.on('opentag', (found) => {
    tag.name = found.name;
    tag.local = found.local ?? found.name;
    tag.uri = found.uri ?? '';
    const resolved = Object.values<SaxesAttributeNS | string>(found.attributes).filter(
      (attribute) => typeof attribute !== 'string',
    );
    resolved.forEach(({ name, value }, index) => {
      tag.attributeNames[index] = name;
      tag.attributeValues[index] = value;
    });
    tag.attributeCount = resolved.length;
    tag.attributeNamespaces = resolved;
    parser.onOpen();
  });
  return parser;
}

/** For a document without any namespace declaration: the common case, and a third faster. */
function plainParser(tag: XmlTag, fragment: boolean): Parser {
  const parser = new Parser(false, fragment);
  const checkName = (name: string): void => {
    const colon = name.indexOf(':');
    if (colon >= 0 && !/^xml:[^:]+$/.test(name)) throw new NotWellFormed(`unbound namespace prefix in ${name}`);
  };
  parser.on('attribute', ({ name, value }) => {
    checkName(name);
    tag.attributeNames[tag.attributeCount] = name;
    tag.attributeValues[tag.attributeCount] = value;
    tag.attributeCount += 1;
  });
  parser.on('opentag', ({ name }) => {
    checkName(name);
    tag.name = name;
    tag.local = name;
    parser.onOpen();
  });
  return parser;
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
