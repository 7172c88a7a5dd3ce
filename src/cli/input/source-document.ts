import type { Place } from './line-index.ts';
import { LineIndex } from './line-index.ts';
import type { SourceNode } from './source-node.ts';
import { find, toValue } from './source-node.ts';
import type { InputProblem } from '../../base/errors.ts';
import { InvalidInputError } from '../../base/errors.ts';

/** The text that documents come from. */
export interface SourceText {
  /** As the user named it; `-` for standard input. */
  readonly file: string;
  readonly text: string;
  readonly lines: LineIndex;
}

/** A text with its lines. */
export function sourceText(file: string, text: string): SourceText {
  return { file, text, lines: new LineIndex(text) };
}

/** One YAML or JSON document, or one item of a List, with the place of every value in it. */
export class ObjectDocument {
  readonly format: 'yaml' | 'json';
  readonly file: string;
  /** Bytes of the document in UTF-8 as it stands in the file; of an item of a List: unknown. */
  readonly bytes: number | undefined;
  /** The document's value: objects, arrays, strings, numbers, booleans, null. */
  readonly value: unknown;
  readonly #source: SourceText;
  readonly #root: SourceNode;

  constructor(format: 'yaml' | 'json', source: SourceText, root: SourceNode, bytes: number | undefined) {
    this.format = format;
    this.file = source.file;
    this.bytes = bytes;
    this.#source = source;
    this.#root = root;
    this.value = toValue(root);
  }

  /**
   * The place of a path, or of the last thing on the way to it that exists.
   *
   * @param part `key` for the key that holds the value; `value` for the value itself.
   */
  place(path: string, part: 'key' | 'value' = 'value'): Place {
    const { node, entry, complete } = find(this.#root, path);
    const atKey = entry !== undefined && (part === 'key' || !complete || node.type !== 'scalar');
    return this.#source.lines.place(atKey ? entry.keyOffset : node.offset);
  }

  /** A problem at a path, with file, line and column filled in, and a word on YAML 1.1 where that is the likely cause. */
  problem(path: string, message: string): InputProblem {
    const part = /^unknown\b/i.test(message) ? 'key' : 'value';
    return {
      file: this.file,
      ...this.place(path, part),
      path,
      message: /quotation marks|quotes/.test(message) ? message : `${message}${this.#surprise(path)}`,
    };
  }

  /** The same for problems found without knowledge of the source; `prefix` is put before their paths. */
  problems(found: readonly InputProblem[], prefix = ''): InputProblem[] {
    return found.map(({ path, message }) => this.problem(joinPath(prefix, path), message));
  }

  /** The items of a List (`kind: List`, `VirtualMachineList`), each as a document; of anything else itself. */
  items(): ObjectDocument[] {
    const root = this.#root;
    if (root.type !== 'map') return [this];
    const kind = root.entries.get('kind')?.node;
    const items = root.entries.get('items')?.node;
    if (kind?.type !== 'scalar' || items?.type !== 'list') return [this];
    if (typeof kind.value !== 'string' || !kind.value.endsWith('List')) return [this];
    return items.items.map((item) => new ObjectDocument(this.format, this.#source, item, undefined));
  }

  #surprise(path: string): string {
    const { node, entry, complete } = find(this.#root, path);
    if (this.format !== 'yaml' || !complete) return '';
    const key = entry?.plainKey;
    if (key !== undefined && /(?:^|\.)(?:true|false)$/.test(path) && !/^(?:true|false)$/i.test(key)) {
      return ` (the key ${key} without quotes is a boolean in YAML 1.1, as kubectl reads it: write "${key}")`;
    }
    if (node.type !== 'scalar' || node.plain === undefined || typeof node.value === 'string') return '';
    return String(node.value) === node.plain
      ? ''
      : ` (${node.plain === '' ? 'nothing' : node.plain} without quotes is ${describe(node.value)} in YAML 1.1, as kubectl reads it)`;
  }
}

function describe(value: string | number | boolean | null): string {
  if (value === null) return 'null';
  return typeof value === 'boolean' ? `the boolean ${value}` : `the number ${value}`;
}

/** Joins two paths as error messages write them. */
export function joinPath(prefix: string, path: string): string {
  if (prefix === '' || path === '') return prefix + path;
  return path.startsWith('[') ? `${prefix}${path}` : `${prefix}.${path}`;
}

/** The error of one thing wrong at an offset of a text. */
export function invalidAt(source: SourceText, offset: number, message: string, path = ''): InvalidInputError {
  return new InvalidInputError([{ file: source.file, ...source.lines.place(offset), path, message }]);
}
