/**
 * libvirt's XML → YAML values, by the generated tables and the rules of design section 3.
 *
 * One pass over the reader's events builds the value; nothing is guessed and nothing dropped: what the tables do not
 * know, or has no faithful value, goes to the overlay, and the convertor puts it back. `envelope.ts` puts the result
 * into our objects. Called by commands and by the executor (what libvirt reports). Pure.
 */
import { InvalidInputError, type InputProblem } from '../base/errors.ts';
import type { DocumentKind } from '../model/document-kind.ts';
import { documentKinds } from '../model/document-kind.ts';
import { nearestName } from '../model/nearest.ts';
import { expectation, isOtherSpelling, readScalar } from '../model/scalar.ts';
import { expandedName, kindOfRootElement, rootElement, rootType } from '../model/schema.ts';
import type { ElementType, Field, ScalarType } from '../model/schema.ts';
import { LineIndex, type Position } from '../xml/position.ts';
import { readXml, tagStart, xmlnsUri, type XmlHandler, type XmlTag } from '../xml/reader.ts';
import { escapeText } from './escape.ts';
import { selfContained, type Declaration } from './raw-xml.ts';

/** Something that the tables have no place for, addressed by the path of the element it belongs to. */
export interface OverlayEntry {
  /** Keys and indices from the document's root, `devices.disk[0].driver`; empty for the root. */
  readonly at: string;
  /** Content to add at the element's end: elements, or text. */
  readonly xml?: string;
  /** Attributes to add, namespace declarations included. */
  readonly attributes?: Readonly<Record<string, string>>;
}

/** What a document says. */
export interface Analysed {
  readonly kind: DocumentKind;
  readonly value: Record<string, unknown>;
  /** In document order. Empty for a document that libvirt's 11.3 schema takes, as good as always. */
  readonly overlay: readonly OverlayEntry[];
  /** Why an overlay entry is one, with its place: for `validate` and for warnings. */
  readonly problems: readonly InputProblem[];
  /** The same of values that are right, but in a spelling that YAML has no way to keep, as `007`: for warnings. */
  readonly spellings: readonly InputProblem[];
  /** By path, when asked for. Of the root under the empty path. */
  readonly positions: ReadonlyMap<string, Position>;
}

/** Options of {@link analyse}. */
export interface AnalyseOptions {
  /** Named in errors. */
  readonly file?: string | undefined;
  /** Also say where each value stands. */
  readonly positions?: boolean;
  /** The most bytes that are read; 128 KiB by default. */
  readonly maxBytes?: number;
}

/**
 * Reads one libvirt document.
 * @param text the XML
 * @throws InvalidInputError when it is not well-formed, not libvirt's, too large, or has a DTD
 */
export function analyse(text: string, options: AnalyseOptions = {}): Analysed {
  const analysis = new Analysis(text, options);
  readXml(text, analysis, {
    file: options.file,
    ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
  });
  return analysis.result();
}

const layout = /^[ \t\r\n]*$/;

/** The value of an element with text only, while it is open. */
const nothing: Record<string, unknown> = Object.freeze({});

/** An open element that the tables know. */
interface Frame {
  readonly parent: Frame | undefined;
  /** Undefined for the root. */
  readonly field: Field | undefined;
  /** Of an element with attributes or children; undefined for text only and for raw XML. */
  readonly type: ElementType | undefined;
  /** The element's value: an object, or a list of raw XML. */
  readonly value: Record<string, unknown> | string[];
  /** Its place in its parent's list. */
  readonly index: number;
  /** Where its start tag ends. */
  readonly openEnd: number;
  text: string;
  /** Namespace declarations on the element. */
  declarations: Declaration[] | undefined;
}

class Analysis implements XmlHandler {
  readonly #source: string;
  readonly #options: AnalyseOptions;
  readonly #overlay: OverlayEntry[] = [];
  readonly #problems: InputProblem[] = [];
  readonly #spellings: InputProblem[] = [];
  readonly #positions = new Map<string, Position>();
  readonly #wantsPositions: boolean;
  #index: LineIndex | undefined;
  #kind: DocumentKind | undefined;
  #root: Record<string, unknown> = {};
  #top: Frame | undefined;
  /** Inside other people's or unknown XML: open elements, and what to do with the whole. */
  #rawDepth = 0;
  #rawStart = 0;
  #rawName = '';
  #rawUri = '';
  #rawDeclares: string[] = [];
  /** Lists of scalars of which one had no value: the rest follows it into the overlay, so that their order stays. */
  readonly #broken = new Map<Frame, Set<Field>>();

  constructor(source: string, options: AnalyseOptions) {
    this.#source = source;
    this.#options = options;
    this.#wantsPositions = options.positions === true;
  }

  #place(offset: number): Position {
    return (this.#index ??= new LineIndex(this.#source)).position(offset);
  }

  result(): Analysed {
    if (this.#kind === undefined) throw this.#invalid(0, 'the document is empty');
    return {
      kind: this.#kind,
      value: this.#root,
      overlay: this.#overlay,
      problems: this.#problems,
      spellings: this.#spellings,
      positions: this.#positions,
    };
  }

  open(tag: XmlTag, end: number): void {
    if (this.#rawDepth > 0) {
      this.#rawDepth += 1;
      return;
    }
    const parent = this.#top;
    if (parent === undefined) {
      this.#openRoot(tag, end);
      return;
    }
    const name = tag.uri === '' ? tag.local : expandedName(tag.local, tag.uri);
    const field = parent.type?.children.get(name);
    if (field === undefined || !this.#hasRoom(parent, field)) {
      this.#rawDepth = 1;
      this.#rawStart = tagStart(this.#source, end);
      this.#rawName = tag.name;
      this.#rawUri = tag.uri;
      this.#rawDeclares = declaredPrefixes(tag);
      return;
    }
    this.#openField(parent, field, tag, end);
  }

  #openRoot(tag: XmlTag, end: number): void {
    const kind = tag.uri === '' ? kindOfRootElement(tag.local) : undefined;
    if (kind === undefined) {
      const known = documentKinds.map(rootElement);
      const near = nearestName(tag.local, known);
      const hint = near === undefined ? '' : `; did you mean <${near}>?`;
      throw this.#invalid(
        tagStart(this.#source, end),
        `expected a libvirt document (${known.join(', ')}), found <${tag.name}>${hint}`,
      );
    }
    this.#kind = kind;
    const type = rootType(kind);
    const frame: Frame = {
      parent: undefined,
      field: undefined,
      type,
      value: this.#root,
      index: 0,
      openEnd: end,
      text: '',
      declarations: undefined,
    };
    this.#top = frame;
    if (this.#wantsPositions) this.#positions.set('', this.#place(tagStart(this.#source, end)));
    this.#attributes(frame, tag, type);
  }

  /** An element that repeats though the schema has it once goes to the overlay. */
  #hasRoom(parent: Frame, field: Field): boolean {
    if (this.#broken.size > 0 && this.#broken.get(parent)?.has(field) === true) return false;
    if (field.list && field.raw === undefined) return true;
    return (parent.value as Record<string, unknown>)[field.key] === undefined;
  }

  #openField(parent: Frame, field: Field, tag: XmlTag, end: number): void {
    const parentValue = parent.value as Record<string, unknown>;
    const type = field.type;
    const value = type !== undefined ? {} : field.raw === undefined ? nothing : [];
    let index = 0;
    if (field.list && field.raw === undefined) {
      const list = parentValue[field.key] as unknown[] | undefined;
      index = list?.length ?? 0;
      if (type !== undefined) append(parentValue, field.key, value);
    } else if (type !== undefined || field.raw !== undefined) {
      parentValue[field.key] = value;
    }
    const frame: Frame = { parent, field, type, value, index, openEnd: end, text: '', declarations: undefined };
    this.#top = frame;
    if (this.#wantsPositions) this.#positions.set(pathOf(frame), this.#place(tagStart(this.#source, end)));
    this.#attributes(frame, tag, type);
  }

  #attributes(frame: Frame, tag: XmlTag, type: ElementType | undefined): void {
    const { attributeCount, attributeNames, attributeValues, attributeNamespaces } = tag;
    let unknown: [string, string][] | undefined;
    let prefixes: string[] | undefined;
    for (let index = 0; index < attributeCount; index += 1) {
      const name = attributeNames[index] ?? '';
      const value = attributeValues[index] ?? '';
      const namespace = attributeNamespaces?.[index];
      if (namespace === undefined || namespace.uri === '') {
        const field = type?.attributes.get(name);
        const read = field?.scalar === undefined ? undefined : readScalar(field.scalar, value);
        if (field !== undefined && read !== undefined) {
          (frame.value as Record<string, unknown>)[field.key] = read;
          continue;
        }
        const place = tagStart(this.#source, frame.openEnd);
        if (field?.scalar === undefined) this.#problem(frame, field?.key ?? name, place, `unknown attribute ${name}`);
        else this.#misfit(frame, field.key, place, field.scalar, value);
      } else if (namespace.uri === xmlnsUri) {
        (frame.declarations ??= []).push({ prefix: name === 'xmlns' ? '' : namespace.local, uri: value, used: false });
        continue;
      } else {
        this.#problem(frame, name, tagStart(this.#source, frame.openEnd), `unknown attribute ${name}`);
        if (namespace.prefix !== 'xml') (prefixes ??= []).push(namespace.prefix);
      }
      (unknown ??= []).push([name, value]);
    }
    // After all of the tag's declarations have been seen.
    for (const prefix of prefixes ?? []) this.#use(frame, prefix);
    if (unknown !== undefined) this.#overlay.push({ at: pathOf(frame), attributes: Object.fromEntries(unknown) });
    if (this.#wantsPositions) this.#attributePositions(frame, tag, type);
  }

  #attributePositions(frame: Frame, tag: XmlTag, type: ElementType | undefined): void {
    const start = tagStart(this.#source, frame.openEnd);
    const markup = this.#source.slice(start, frame.openEnd);
    const path = pathOf(frame);
    for (const match of markup.matchAll(/\s([^\s=<>"'/]+)\s*=\s*(?:"[^"]*"|'[^']*')/g)) {
      const name = match[1] ?? '';
      const field = tag.attributeNames.indexOf(name) >= tag.attributeCount ? undefined : type?.attributes.get(name);
      if (field !== undefined) this.#positions.set(join(path, field.key), this.#place(start + match.index + 1));
    }
  }

  text(data: string): void {
    if (this.#rawDepth > 0 || this.#top === undefined) return;
    if (this.#top.text === '') this.#top.text = data;
    else this.#top.text += data;
  }

  close(end: number): void {
    if (this.#rawDepth > 0) {
      this.#rawDepth -= 1;
      if (this.#rawDepth === 0) this.#closeRaw(end);
      return;
    }
    const frame = this.#top;
    if (frame === undefined) return;
    if (frame.field?.scalar !== undefined && frame.parent !== undefined) {
      this.#closeScalar(frame, frame.parent, frame.field, end);
    } else if (frame.text !== '') {
      this.#closeText(frame);
    }
    this.#declare(frame);
    this.#top = frame.parent;
  }

  /** The end of an element inside `<metadata>`, or of one that the tables do not know. */
  #closeRaw(end: number): void {
    const frame = this.#top;
    if (frame === undefined) return;
    const xml = this.#source.slice(this.#rawStart, end);
    if (frame.field?.raw !== undefined) {
      (frame.value as string[]).push(xml);
      for (let at: Frame | undefined = frame; at !== undefined; at = at.parent) {
        for (const declaration of at.declarations ?? []) {
          if (declaration.prefix !== '' && xml.includes(`${declaration.prefix}:`)) declaration.used = true;
        }
      }
      return;
    }
    const name = this.#rawName;
    const known =
      frame.type?.children.get(expandedName(this.#rawName.slice(this.#rawName.indexOf(':') + 1), this.#rawUri)) !==
      undefined;
    const near = known ? undefined : nearestName(name, [...(frame.type?.children.values() ?? [])].map(xmlNameOf));
    const hint = near === undefined ? '' : `; did you mean <${near}>?`;
    const message = known ? `<${name}> is here more often than libvirt takes it` : `unknown element <${name}>${hint}`;
    this.#problem(frame, name, this.#rawStart, message);
    this.#overlay.push({ at: pathOf(frame), xml: selfContained(xml, this.#rawDeclares, declarationsInScope(frame)) });
  }

  #closeScalar(frame: Frame, parent: Frame, field: Field, end: number): void {
    const { scalar } = field;
    if (scalar === undefined) return;
    const parentValue = parent.value as Record<string, unknown>;
    const value = readScalar(scalar, frame.text);
    if (value === undefined) {
      const start = tagStart(this.#source, frame.openEnd);
      this.#misfit(parent, field.key, start, scalar, frame.text);
      this.#takeBack(frame);
      const xml = selfContained(this.#source.slice(start, end), prefixesOf(frame), declarationsInScope(frame));
      this.#overlay.push({ at: pathOf(parent), xml });
      frame.declarations = undefined;
      const broken = this.#broken.get(parent);
      if (broken === undefined) this.#broken.set(parent, new Set([field]));
      else broken.add(field);
    } else if (field.list) {
      append(parentValue, field.key, value);
    } else {
      parentValue[field.key] = value;
    }
  }

  /** Removes what an element put into the overlay, since the whole element goes there. */
  #takeBack(frame: Frame): void {
    const at = pathOf(frame);
    for (let last = this.#overlay.at(-1); last?.at === at; last = this.#overlay.at(-1)) this.#overlay.pop();
  }

  #closeText(frame: Frame): void {
    const field = frame.type?.text;
    const blank = layout.test(frame.text);
    if (field?.scalar !== undefined && !(blank && frame.type !== undefined && frame.type.children.size > 0)) {
      const value = readScalar(field.scalar, frame.text);
      if (value !== undefined) {
        (frame.value as Record<string, unknown>)['value'] = value;
        if (this.#wantsPositions) this.#positions.set(join(pathOf(frame), 'value'), this.#place(frame.openEnd));
        return;
      }
    }
    if (blank) return;
    if (field?.scalar === undefined) {
      const found = JSON.stringify(frame.text.trim().slice(0, 80));
      this.#problem(frame, field?.key ?? '', frame.openEnd, `unknown text ${found}`);
    } else {
      this.#misfit(frame, field.key, frame.openEnd, field.scalar, frame.text);
    }
    this.#overlay.push({ at: pathOf(frame), xml: escapeText(frame.text) });
  }

  /** Namespace declarations that raw XML or an unknown attribute relies on stay where they were. */
  #declare(frame: Frame): void {
    const used = frame.declarations?.filter((declaration) => declaration.used) ?? [];
    if (used.length === 0) return;
    const attributes = Object.fromEntries(used.map(({ prefix, uri }) => [`xmlns:${prefix}`, uri]));
    this.#overlay.push({ at: pathOf(frame), attributes });
  }

  #use(frame: Frame, prefix: string): void {
    for (let at: Frame | undefined = frame; at !== undefined; at = at.parent) {
      const declaration = at.declarations?.find((one) => one.prefix === prefix);
      if (declaration === undefined) continue;
      declaration.used = true;
      return;
    }
  }

  /** A text that is no value of its type, or is one in another spelling. */
  #misfit(frame: Frame, key: string, offset: number, type: ScalarType, text: string): void {
    const found = JSON.stringify(text.length > 80 ? `${text.trim().slice(0, 80)}…` : text);
    if (isOtherSpelling(type, text)) {
      this.#problem(frame, key, offset, `${found} is spelled in a way that YAML does not keep`, this.#spellings);
    } else {
      this.#problem(frame, key, offset, `expected ${expectation(type)}, found ${found}`);
    }
  }

  #problem(frame: Frame, key: string, offset: number, message: string, to = this.#problems): void {
    const path = key === '' ? pathOf(frame) : join(pathOf(frame), key);
    to.push({ file: this.#options.file, ...this.#place(offset), path, message });
  }

  #invalid(offset: number, message: string): InvalidInputError {
    return new InvalidInputError([{ file: this.#options.file, ...this.#place(offset), path: '', message }]);
  }
}

function declarationsInScope(frame: Frame): Declaration[] {
  const found = new Map<string, Declaration>();
  for (let at: Frame | undefined = frame; at !== undefined; at = at.parent) {
    for (const declaration of at.declarations ?? []) {
      if (!found.has(declaration.prefix)) found.set(declaration.prefix, declaration);
    }
  }
  return [...found.values()];
}

function append(object: Record<string, unknown>, key: string, item: unknown): void {
  const list = object[key];
  if (Array.isArray(list)) list.push(item);
  else object[key] = [item];
}

function pathOf(frame: Frame): string {
  const { parent, field } = frame;
  if (parent === undefined || field === undefined) return '';
  const own = join(pathOf(parent), field.key);
  return field.list && field.raw === undefined ? `${own}[${frame.index}]` : own;
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

function prefixesOf(frame: Frame): string[] {
  return (frame.declarations ?? []).map(({ prefix }) => prefix);
}

function declaredPrefixes(tag: XmlTag): string[] {
  return (tag.attributeNamespaces ?? []).flatMap(({ prefix, local, uri }) =>
    uri === xmlnsUri ? [prefix === '' ? '' : local] : [],
  );
}

function xmlNameOf(field: Field): string {
  return field.xmlName;
}
