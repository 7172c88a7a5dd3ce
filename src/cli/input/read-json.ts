import type { SourceText } from './source-document.ts';
import { invalidAt, ObjectDocument } from './source-document.ts';
import type { SourceEntry, SourceNode } from './source-node.ts';

/** Deeper nesting is refused: no libvirt document comes near it. */
const maxDepth = 100;

const whitespace = /[ \t\r\n]*/y;
const stringBody = /"(?:[^"\\\0-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y; // eslint-disable-line no-control-regex -- JSON forbids them
const number = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const word = /true|false|null/y;
const words: ReadonlyMap<string, boolean | null> = new Map<string, boolean | null>([
  ['true', true],
  ['false', false],
  ['null', null],
]);

/**
 * Reads a text of one or several JSON documents one after another, as kubectl does, with the place of every value.
 * Duplicate keys are an error; an integer beyond ±(2^53 - 1) becomes the string of its digits, and so stays exact.
 *
 * @throws InvalidInputError at the first thing that is not JSON.
 */
export function readJson(source: SourceText): ObjectDocument[] {
  const parser = new JsonParser(source);
  const documents: ObjectDocument[] = [];
  for (let start = parser.skip(0); start < source.text.length; start = parser.skip(parser.end)) {
    const root = parser.value(start, 0);
    const bytes = Buffer.byteLength(source.text.slice(start, parser.end));
    documents.push(new ObjectDocument('json', source, root, bytes));
  }
  return documents;
}

class JsonParser {
  /** Where the value that was read last ends. */
  end = 0;
  readonly #source: SourceText;
  readonly #text: string;

  constructor(source: SourceText) {
    this.#source = source;
    this.#text = source.text;
  }

  skip(at: number): number {
    whitespace.lastIndex = at;
    whitespace.test(this.#text);
    return whitespace.lastIndex;
  }

  value(at: number, depth: number): SourceNode {
    if (depth > maxDepth) throw invalidAt(this.#source, at, `nested deeper than ${maxDepth} levels`);
    switch (this.#text[at]) {
      case '{':
        return this.#map(at, depth);
      case '[':
        return this.#list(at, depth);
      case '"':
        return { type: 'scalar', offset: at, value: this.#string(at), plain: undefined };
      default:
        return { type: 'scalar', offset: at, value: this.#bare(at), plain: undefined };
    }
  }

  #map(offset: number, depth: number): SourceNode {
    const entries = new Map<string, SourceEntry>();
    let at = this.skip(offset + 1);
    if (this.#text[at] === '}') {
      this.end = at + 1;
      return { type: 'map', offset, entries };
    }
    for (;;) {
      if (this.#text[at] !== '"') throw this.#unexpected(at, 'a key in double quotes');
      const key = this.#string(at);
      const earlier = entries.get(key);
      if (earlier !== undefined) throw duplicateKey(this.#source, at, key, earlier.keyOffset);
      const colon = this.skip(this.end);
      if (this.#text[colon] !== ':') throw this.#unexpected(colon, '":" after the key');
      const node = this.value(this.skip(colon + 1), depth + 1);
      entries.set(key, { keyOffset: at, plainKey: undefined, node });
      at = this.skip(this.end);
      const next = this.#text[at];
      if (next === '}') {
        this.end = at + 1;
        return { type: 'map', offset, entries };
      }
      if (next !== ',') throw this.#unexpected(at, '"," or "}"');
      at = this.skip(at + 1);
    }
  }

  #list(offset: number, depth: number): SourceNode {
    const items: SourceNode[] = [];
    let at = this.skip(offset + 1);
    if (this.#text[at] === ']') {
      this.end = at + 1;
      return { type: 'list', offset, items };
    }
    for (;;) {
      items.push(this.value(at, depth + 1));
      at = this.skip(this.end);
      const next = this.#text[at];
      if (next === ']') {
        this.end = at + 1;
        return { type: 'list', offset, items };
      }
      if (next !== ',') throw this.#unexpected(at, '"," or "]"');
      at = this.skip(at + 1);
    }
  }

  #string(at: number): string {
    stringBody.lastIndex = at;
    if (!stringBody.test(this.#text)) throw invalidAt(this.#source, at, 'not a whole JSON string');
    this.end = stringBody.lastIndex;
    return JSON.parse(this.#text.slice(at, this.end)) as string;
  }

  #bare(at: number): string | number | boolean | null {
    word.lastIndex = at;
    const found = word.exec(this.#text)?.[0];
    if (found !== undefined) {
      this.end = word.lastIndex;
      return words.get(found) ?? null;
    }
    number.lastIndex = at;
    const match = number.exec(this.#text);
    if (match === null) throw this.#unexpected(at, 'a value');
    this.end = number.lastIndex;
    const value = Number(match[0]);
    const isInteger = match[1] === undefined && match[2] === undefined;
    if (isInteger) return Number.isSafeInteger(value) ? value || 0 : match[0];
    if (!Number.isFinite(value)) throw invalidAt(this.#source, at, `the number ${match[0]} is too large`);
    return value;
  }

  #unexpected(at: number, expected: string): Error {
    const found = this.#text[at];
    return invalidAt(
      this.#source,
      at,
      `expected ${expected}, found ${found === undefined ? 'the end' : JSON.stringify(found)}`,
    );
  }
}

/** The error of a key that is given twice in one object. */
export function duplicateKey(source: SourceText, at: number, key: string, earlier: number): Error {
  const { line, column } = source.lines.place(earlier);
  return invalidAt(
    source,
    at,
    `the key ${JSON.stringify(key)} is given twice in one object, first at ${line}:${column}`,
  );
}
