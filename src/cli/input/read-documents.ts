/**
 * Reading what users give: files, folders and standard input, in YAML, JSON or libvirt's XML.
 *
 * `listInputs` turns arguments into files, `readInput` a file into text (bounded, decoded), `readDocuments` a text into
 * documents, each with the place of every value. A document that cannot be read is an error among the others and does
 * not hide them. Commands call these three; nothing else in virtctl reads user files.
 */
import type { LineIndex, Place } from './line-index.ts';
import { readJson } from './read-json.ts';
import { readYaml } from './read-yaml.ts';
import type { SourceText, ObjectDocument } from './source-document.ts';
import { sourceText } from './source-document.ts';
import { splitXml } from './split-xml.ts';
import type { InputProblem } from '../../base/errors.ts';
import { InvalidInputError } from '../../base/errors.ts';

/** One XML document, as text: what it means is the analyser's business. */
export class XmlDocument {
  readonly format = 'xml';
  readonly file: string;
  readonly text: string;
  readonly #lines: LineIndex;
  readonly #start: number;

  constructor(source: SourceText, start: number, end: number) {
    this.file = source.file;
    this.text = start === 0 && end === source.text.length ? source.text : source.text.slice(start, end);
    this.#lines = source.lines;
    this.#start = start;
  }

  /** Problems with the places of the whole file, given those of this document's text. */
  problems(found: readonly InputProblem[]): InputProblem[] {
    return found.map((problem) => ({ ...problem, ...this.#shift(problem), file: this.file }));
  }

  #shift({ line, column }: InputProblem): Partial<Place> {
    if (line === undefined) return this.#lines.place(this.#start);
    const first = this.#lines.place(this.#start);
    const shifted = line === 1 ? (column ?? 1) + first.column - 1 : (column ?? 1);
    return { line: line + first.line - 1, column: shifted };
  }
}

/** A document that could be read. */
export type InputDocument = ObjectDocument | XmlDocument;

/**
 * The documents of a text, in their order. What they are in is decided by the content: XML begins with `<`, JSON with a
 * brace or a bracket; the rest is YAML. An item of a List counts as a document.
 *
 * @param file Names the text in errors; its ending decides only what a text is that is none of the three.
 */
export function* readDocuments(file: string, text: string): Generator<InputDocument | InvalidInputError> {
  const source = sourceText(file, text);
  const first = /\S/.exec(text)?.[0];
  if (first === undefined) {
    yield new InvalidInputError([{ file, line: 1, column: 1, path: '', message: 'empty: there is no document in it' }]);
    return;
  }
  if (first === '<' || file.endsWith('.xml')) {
    for (const { start, end } of splitXml(text)) yield new XmlDocument(source, start, end);
    return;
  }
  let count = 0;
  const read = first === '{' || first === '[' || file.endsWith('.json') ? readBraces(source, first) : readYaml(source);
  for (const document of read) {
    if (document instanceof InvalidInputError) yield document;
    else yield* document.items();
    count += 1;
  }
  if (count === 0) {
    yield new InvalidInputError([{ file, line: 1, column: 1, path: '', message: 'there is no document in it' }]);
  }
}

/** JSON; or, since `{a: b}` is a document too, YAML when it is that. */
function readBraces(source: SourceText, first: string): readonly (ObjectDocument | InvalidInputError)[] {
  try {
    return readJson(source);
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    const looksLikeJson = source.file.endsWith('.json') || /^\s*[{[]\s*(?:["{[\]}]|$)/.test(source.text);
    if (looksLikeJson && first !== '-') {
      const asYaml = [...readYaml(source)];
      return asYaml.some((document) => document instanceof Error) || source.file.endsWith('.json') ? [error] : asYaml;
    }
    return [...readYaml(source)];
  }
}
