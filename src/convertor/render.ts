/**
 * YAML values → libvirt's XML, by the generated tables; the inverse of src/analyser.
 *
 * The document is written by xmlbuilder2 from the tree of `output-tree.ts`, siblings in schema order, lists in their
 * own. `envelope.ts` takes the values out of our objects. Called by commands and by the executor (what libvirt gets).
 * Pure.
 */
import { InvalidInputError, type InputProblem } from '../base/errors.ts';
import type { DocumentKind } from '../model/document-kind.ts';
import { writeScalar } from '../model/scalar.ts';
import { namespaceOfPrefix, rootElement, rootType, type ElementType, type Field } from '../model/schema.ts';
import { isXmlText, validateDocument } from '../model/validate.ts';
import { readFragment } from '../xml/fragment.ts';
import { isXmlName } from '../xml/name.ts';
import { readXml, maxReportedBytes } from '../xml/reader.ts';
import { OutputElement, OutputText, writeTree } from './output-tree.ts';

/** What the tables have no place for; see the analyser's entry of the same shape. */
export interface OverlayEntry {
  /** The path of an element in the document, `devices.disk[0].driver`; empty for the root. */
  readonly at: string;
  /** Raw XML that is added at the element's end. */
  readonly xml?: string;
  /** Attributes to add; one that the document has is replaced. */
  readonly attributes?: Readonly<Record<string, string>>;
}

/** Options of {@link render}. */
export interface RenderOptions {
  /** One element a line, indented by two spaces (the default), or all in one line. */
  readonly pretty?: boolean;
  /** Where the value stands in the user's input, for problems: `spec.domain`. */
  readonly path?: string;
  /** Where the overlay stands: `spec.overlay`. */
  readonly overlayPath?: string;
}

/**
 * Writes a document's XML.
 * @param value as {@link validateDocument} accepts it
 * @throws InvalidInputError with every problem of the value or the overlay
 */
export function render(
  kind: DocumentKind,
  value: object,
  overlay: readonly OverlayEntry[] = [],
  options: RenderOptions = {},
): string {
  const { pretty = true, path = '', overlayPath = 'overlay' } = options;
  const rendering = new Rendering(rootElement(kind), overlay, pretty);
  rendering.fill(rootType(kind), value as Values, '');
  if (rendering.refused) {
    const problems = validateDocument(kind, value, path);
    throw new InvalidInputError(
      problems.length > 0 ? problems : [{ path, message: 'has XML that is not well-formed' }],
    );
  }
  const problems = rendering.finish(path, overlayPath);
  if (problems.length > 0) throw new InvalidInputError(problems);
  return rendering.text();
}

/** As deep as a document may be that the reader takes. */
const maxDepth = 256;

type Values = Readonly<Record<string, unknown>>;

class Rendering {
  readonly #root: OutputElement;
  readonly #overlay: readonly OverlayEntry[];
  readonly #pretty: boolean;
  /** Elements by path, when an overlay needs them. */
  readonly #elements: Map<string, OutputElement> | undefined;
  /** As written, by libvirt's own. */
  readonly #prefixes = new Map<string, string>();
  /** Pieces of raw XML; in the document a mark stands for each, of characters that XML does not have. */
  readonly #raw: { readonly xml: string; readonly before: string; readonly after: string }[] = [];
  readonly #rawProblems: InputProblem[] = [];
  /** Text beside elements: white space for layout would change it. */
  #mixed = false;
  /** The value is not as the schema wants it; what exactly is the validator's to say. */
  refused = false;

  constructor(rootName: string, overlay: readonly OverlayEntry[], pretty: boolean) {
    this.#root = new OutputElement(rootName);
    this.#overlay = overlay;
    this.#pretty = pretty;
    this.#elements = overlay.length > 0 ? new Map([['', this.#root]]) : undefined;
  }

  /** Fills the root element. */
  fill(type: ElementType, value: Values, path: string): void {
    this.#object(this.#root, type, value, path, 1);
  }

  #object(element: OutputElement, type: ElementType, value: unknown, path: string, depth: number): void {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || depth > maxDepth) {
      this.refused = true;
      return;
    }
    const values = value as Values;
    let hasText = false;
    for (const field of this.#inOrder(type, Object.keys(values))) {
      const one = values[field.key];
      if (one === undefined) continue;
      if (field.node === 'element') this.#children(element, field, one, path, depth);
      else if (field.node === 'attribute') this.#attribute(element, field, one);
      else hasText = this.#text(element, field, one) || hasText;
    }
    if (hasText && element.firstChild?.nextSibling !== null) this.#mixed = true;
  }

  /** The fields of some keys in schema order; most objects have few of many possible ones. */
  #inOrder(type: ElementType, keys: readonly string[]): Field[] {
    const fields: Field[] = [];
    let last = -1;
    let sorted = true;
    for (const key of keys) {
      const field = type.fields.get(key);
      if (field === undefined) {
        this.refused = true;
        continue;
      }
      if (field.order < last) sorted = false;
      last = field.order;
      fields.push(field);
    }
    return sorted ? fields : fields.sort((a, b) => a.order - b.order);
  }

  #attribute(element: OutputElement, field: Field, value: unknown): void {
    const text = field.scalar === undefined ? undefined : writeScalar(field.scalar, value);
    if (text === undefined || !isXmlText(text)) this.refused = true;
    else element.setAttribute(field.xmlName, attributeText(text));
  }

  #text(element: OutputElement, field: Field, value: unknown): boolean {
    const text = field.scalar === undefined ? undefined : writeScalar(field.scalar, value);
    if (text === undefined || !isXmlText(text)) {
      this.refused = true;
      return false;
    }
    if (text !== '') element.append(new OutputText(contentText(text)));
    return text !== '';
  }

  #children(parent: OutputElement, field: Field, value: unknown, path: string, depth: number): void {
    const ownPath = this.#elements === undefined ? '' : path === '' ? field.key : `${path}.${field.key}`;
    if (field.list !== Array.isArray(value)) {
      this.refused = true;
    } else if (field.raw !== undefined) {
      const element = this.#child(parent, field, ownPath);
      this.#rawXml(element, value as unknown[], depth);
    } else if (Array.isArray(value)) {
      value.forEach((item: unknown, index) => {
        this.#one(parent, field, item, this.#elements === undefined ? '' : `${ownPath}[${index}]`, depth);
      });
    } else {
      this.#one(parent, field, value, ownPath, depth);
    }
  }

  #one(parent: OutputElement, field: Field, value: unknown, path: string, depth: number): void {
    const element = this.#child(parent, field, path);
    if (field.type !== undefined) this.#object(element, field.type, value, path, depth + 1);
    else this.#text(element, field, value);
  }

  #child(parent: OutputElement, field: Field, path: string): OutputElement {
    const element = new OutputElement(
      field.namespace === undefined ? field.xmlName : this.#declared(field.xmlName, field.namespace),
    );
    this.#elements?.set(path, element);
    parent.append(element);
    return element;
  }

  /** The name with a prefix that is declared on the root: libvirt's, or another where an overlay means something else by it. */
  #declared(xmlName: string, uri: string): string {
    const colon = xmlName.indexOf(':');
    const usual = xmlName.slice(0, colon);
    let prefix = this.#prefixes.get(usual) ?? usual;
    const isTaken = ({ attributes }: OverlayEntry): boolean => (attributes?.[`xmlns:${prefix}`] ?? uri) !== uri;
    while (this.#overlay.some(isTaken)) prefix += '1';
    this.#prefixes.set(usual, prefix);
    return prefix + xmlName.slice(colon);
  }

  #rawXml(element: OutputElement, pieces: readonly unknown[], depth: number): void {
    const indent = this.#pretty ? `\n${'  '.repeat(depth)}` : '';
    pieces.forEach((piece, index) => {
      const fragment = typeof piece === 'string' && isXmlText(piece) ? readFragment(piece) : undefined;
      if (typeof piece !== 'string' || fragment === undefined) {
        this.refused = true;
      } else if (typeof fragment === 'string') {
        this.#rawProblems.push({ path: 'metadata', message: `not well-formed XML: ${fragment}` });
      } else {
        const before = indent === '' ? '' : `${indent}  `;
        this.#mark(element, piece, before, index === pieces.length - 1 ? indent : '');
      }
    });
  }

  /** Puts raw XML into an element, with white space around it for layout. */
  #mark(element: OutputElement, xml: string, before: string, after: string): void {
    const number = this.#raw.push({ xml, before, after }) - 1;
    element.append(new OutputText(`\u0001${number}\u0002`));
  }

  /** Declares namespaces and applies the overlay; returns what is wrong with it. */
  finish(path: string, overlayPath: string): InputProblem[] {
    for (const [usual, prefix] of this.#prefixes) {
      this.#root.setAttribute(`xmlns:${prefix}`, namespaceOfPrefix[usual] ?? '');
    }
    const problems = this.#rawProblems.map((problem) => ({
      ...problem,
      path: path === '' ? problem.path : `${path}.${problem.path}`,
    }));
    this.#overlay.forEach((entry, index) => {
      const found = this.#apply(entry);
      if (found !== undefined) problems.push({ path: `${overlayPath}[${index}]${found[0]}`, message: found[1] });
    });
    return problems;
  }

  #apply({ at, xml, attributes }: OverlayEntry): [path: string, message: string] | undefined {
    const element = this.#elements?.get(at);
    if (element === undefined) return ['.at', `there is no element ${JSON.stringify(at)} in the document`];
    if (xml === undefined && attributes === undefined) return ['', 'expected xml or attributes'];
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (typeof value !== 'string' || !isXmlText(value)) return [`.attributes.${name}`, 'expected a string'];
      if (!isXmlName(name)) return [`.attributes.${name}`, 'is not a name that XML takes'];
      element.setAttribute(name, attributeText(value));
    }
    if (xml === undefined) return undefined;
    const fragment = typeof xml === 'string' && isXmlText(xml) ? readFragment(xml) : 'expected a string of XML';
    if (typeof fragment === 'string') return ['.xml', `not well-formed XML: ${fragment}`];
    if (fragment.hasText) this.#mixed = true;
    this.#mark(element, xml, '', '');
    return undefined;
  }

  #rawAt(number: number): string {
    const { xml, before, after } = this.#raw[number] ?? { xml: '', before: '', after: '' };
    return this.#mixed ? xml : before + xml + after;
  }

  /** The document. */
  text(): string {
    const markup = writeTree(this.#root, this.#pretty && !this.#mixed);
    const text = this.#raw.length === 0 ? markup : markup.replaceAll(mark, (_, number) => this.#rawAt(Number(number)));
    // Raw pieces may use prefixes that nothing declares.
    if (this.#raw.length > 0 || this.#overlay.length > 0)
      readXml(text, { open: nothing, text: nothing, close: nothing }, { maxBytes: maxReportedBytes });
    return this.#pretty ? `${text}\n` : text;
  }
}

// eslint-disable-next-line no-control-regex -- characters that XML does not have cannot be in the data
const mark = /\u0001(\d+)\u0002/g;

function nothing(): void {
  // Only whether it can be read is of interest.
}

/** xmlbuilder2 escapes `<`, `>` and quotation marks, and leaves what looks like a reference: `&` is ours to escape. */
function attributeText(text: string): string {
  return /[&\t\n\r]/.test(text)
    ? text.replaceAll(/[&\t\n\r]/g, (char) => (char === '&' ? '&amp;' : `&#${char.charCodeAt(0)};`))
    : text;
}

function contentText(text: string): string {
  return /[&\r]/.test(text) ? text.replaceAll(/[&\r]/g, (char) => (char === '&' ? '&amp;' : '&#13;')) : text;
}
