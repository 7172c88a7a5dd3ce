import type { Document, Node, Pair, CST } from 'yaml';
import { Composer, isAlias, isMap, isScalar, isSeq, Parser, Scalar } from 'yaml';
import { duplicateKey } from './read-json.ts';
import type { SourceText } from './source-document.ts';
import { invalidAt, ObjectDocument } from './source-document.ts';
import type { SourceEntry, SourceNode } from './source-node.ts';
import { toError, InvalidInputError } from '../../base/errors.ts';
import { resolvePlainScalar } from '../yaml/plain-scalar.ts';

/** Deeper nesting is refused: no libvirt document comes near it, and the composer recurses. */
const maxDepth = 100;
/** Values that all aliases of a document may stand for together. An alias bomb stands for millions. */
const maxAliasedNodes = 10_000;

/**
 * Reads the YAML documents of a text one by one, as kubectl does: YAML 1.1's booleans and go-yaml's integers, the last
 * of several merged maps wins nothing over the first, an explicit tag decides. Unlike kubectl a duplicate key is an
 * error, and an integer beyond ±(2^53 - 1) stays exact, as the string of its digits. Empty documents are left out.
 *
 * @returns Each document, or the error that keeps it from being read; the next one is read all the same.
 */
export function* readYaml(source: SourceText): Generator<ObjectDocument | InvalidInputError> {
  for (const { start, end } of splitDocuments(source.text)) {
    try {
      yield* readChunk(source, start, end);
    } catch (error) {
      if (!(error instanceof InvalidInputError)) throw error;
      yield error;
    }
  }
}

/** What no YAML stream may hold (YAML 1.1, section 5.1), as go-yaml refuses it. */
// eslint-disable-next-line no-control-regex -- finding control characters is its purpose
const forbidden = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]/;

function* readChunk(source: SourceText, start: number, end: number): Generator<ObjectDocument> {
  const text = source.text.slice(start, end);
  const control = forbidden.exec(text);
  if (control !== null) {
    const code = control[0].charCodeAt(0).toString(16).padStart(4, '0').toUpperCase();
    throw invalidAt(source, start + control.index, `the control character U+${code} is not allowed in YAML`);
  }
  const tokens = [...new Parser().parse(text)];
  const tooDeep = findDeeperThan(tokens, maxDepth);
  if (tooDeep !== undefined) throw invalidAt(source, start + tooDeep, `nested deeper than ${maxDepth} levels`);
  // The failsafe schema leaves every scalar as it is written; what it means is decided here.
  const composer = new Composer({
    schema: 'failsafe',
    uniqueKeys: false,
    prettyErrors: false,
    resolveKnownTags: false,
    logLevel: 'silent',
  });
  for (const document of composer.compose(tokens, false, text.length)) {
    const [error] = document.errors;
    if (error !== undefined) {
      throw invalidAt(source, start + error.pos[0], `not YAML: ${error.message.replaceAll(/\s+/g, ' ')}`);
    }
    if (isEmpty(document)) continue;
    const [from, , to] = document.range;
    const bytes = Buffer.byteLength(text.slice(from, to));
    yield new ObjectDocument('yaml', source, new Resolver(source, start).node(document.contents), bytes);
  }
}

function isEmpty(document: Document): boolean {
  const { contents } = document;
  return (
    contents === null ||
    (isScalar(contents) && contents.type === Scalar.PLAIN && contents.source === '' && contents.tag === undefined)
  );
}

/** Splits at the lines that begin a document, so that one that is broken does not hide the others. */
function* splitDocuments(text: string): Generator<{ start: number; end: number }> {
  let start = 0;
  for (const { index } of text.matchAll(/(?:^|(?<=\n))---(?=[ \t\r\n]|$)/g)) {
    // Directives and comments before a document's first line belong to it.
    if (/^(?:[ \t]*(?:#[^\n]*)?(?:\n|$)|%[^\n]*\n|\r)*$/.test(text.slice(start, index))) continue;
    yield { start, end: index };
    start = index;
  }
  yield { start, end: text.length };
}

/** Walks the parser's tokens without recursion: the offset of the first collection nested too deep. */
function findDeeperThan(tokens: readonly CST.Token[], limit: number): number | undefined {
  const stack: { token: CST.Token; depth: number }[] = tokens.map((token) => ({ token, depth: 0 }));
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { token, depth } = top;
    if (token.type === 'document') {
      if (token.value !== undefined) stack.push({ token: token.value, depth });
    } else if ('items' in token) {
      if (depth >= limit) return token.offset;
      for (const item of token.items) {
        if (item.key) stack.push({ token: item.key, depth: depth + 1 });
        if (item.value) stack.push({ token: item.value, depth: depth + 1 });
      }
    }
  }
  return undefined;
}

/** Turns composed nodes into source nodes: resolves scalars, tags, aliases, merge keys. */
class Resolver {
  readonly #source: SourceText;
  readonly #start: number;
  /** Anchors met so far, with what they stand for; `undefined` while the anchored node is being read. */
  readonly #anchors = new Map<string, { readonly node: SourceNode; readonly size: number } | undefined>();
  #aliased = 0;

  constructor(source: SourceText, start: number) {
    this.#source = source;
    this.#start = start;
  }

  node(node: Node | null): SourceNode {
    if (node === null) return { type: 'scalar', offset: this.#start, value: null, plain: '' };
    if (isAlias(node)) return this.#alias(node.source, this.#offset(node));
    const anchor = isMap(node) || isSeq(node) || isScalar(node) ? node.anchor : undefined;
    if (anchor !== undefined) this.#anchors.set(anchor, undefined);
    const resolved = this.#content(node);
    if (anchor !== undefined) this.#anchors.set(anchor, { node: resolved, size: countNodes(resolved) });
    return resolved;
  }

  #content(node: Node): SourceNode {
    const offset = this.#offset(node);
    if (isScalar(node)) return this.#scalar(node, offset);
    if (isSeq(node)) return { type: 'list', offset, items: node.items.map((item) => this.node(item as Node)) };
    if (isMap(node)) return this.#map(node.items as Pair<Node, Node | null>[], offset);
    throw invalidAt(this.#source, offset, 'expected an object, a list or a scalar');
  }

  #scalar(node: Scalar, offset: number): SourceNode {
    const text = typeof node.value === 'string' ? node.value : (node.source ?? '');
    const tag = node.tag;
    // A null node that has no text of its own (`key:`) is a plain scalar too.
    const isPlain = node.type === Scalar.PLAIN || node.type === undefined;
    if (tag === undefined) {
      const value = isPlain ? resolvePlainScalar(text) : text;
      return { type: 'scalar', offset, value: this.#finite(value, offset), plain: isPlain ? text : undefined };
    }
    return { type: 'scalar', offset, value: this.#tagged(tag, text, offset), plain: undefined };
  }

  #tagged(tag: string, text: string, offset: number): string | number | boolean | null {
    const kind = tag.startsWith('tag:yaml.org,2002:') ? tag.slice('tag:yaml.org,2002:'.length) : '';
    if (kind === 'binary') return this.#binary(text, offset);
    const type = tagTypes.get(kind);
    if (type === undefined) return text;
    const value = this.#finite(resolvePlainScalar(text), offset);
    const found = value === null ? 'null' : typeof value;
    // A large integer resolves to a string of digits and is an integer all the same.
    const isLarge = typeof value === 'string' && /^-?[0-9]{16,}$/.test(value);
    if (found !== type && !(type === 'number' && isLarge)) {
      throw invalidAt(this.#source, offset, `${JSON.stringify(text)} is not a value for the tag !!${kind}`);
    }
    return value;
  }

  #binary(text: string, offset: number): string {
    const compact = text.replaceAll(/\s/g, '');
    if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(compact)) {
      throw invalidAt(this.#source, offset, 'a !!binary value that is not base64');
    }
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(compact, 'base64'));
    } catch (error) {
      throw new InvalidInputError(
        [
          {
            file: this.#source.file,
            ...this.#source.lines.place(offset),
            path: '',
            message: 'a !!binary value whose bytes are not UTF-8 text',
          },
        ],
        { cause: toError(error) },
      );
    }
  }

  #finite(value: string | number | boolean | null, offset: number): string | number | boolean | null {
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw invalidAt(
        this.#source,
        offset,
        'infinity and not-a-number have no place in a Kubernetes object: quote it if it is a string',
      );
    }
    return value;
  }

  #alias(name: string, offset: number): SourceNode {
    if (!this.#anchors.has(name)) throw invalidAt(this.#source, offset, `unknown anchor ${JSON.stringify(name)}`);
    const target = this.#anchors.get(name);
    if (target === undefined) {
      throw invalidAt(this.#source, offset, `the anchor ${JSON.stringify(name)} contains itself`);
    }
    this.#aliased += target.size;
    if (this.#aliased > maxAliasedNodes) {
      throw invalidAt(this.#source, offset, `aliases that stand for more than ${maxAliasedNodes} values together`);
    }
    return target.node;
  }

  #map(pairs: readonly Pair<Node, Node | null>[], offset: number): SourceNode {
    const entries = new Map<string, SourceEntry>();
    const own = new Map<string, number>();
    for (const { key, value } of pairs) {
      const keyOffset = this.#offset(key);
      const keyNode = this.node(key);
      const node = value === null ? nullAfter(keyOffset) : this.node(value);
      if (keyNode.type === 'scalar' && keyNode.plain === '<<') {
        this.#merge(entries, own, node);
        continue;
      }
      const name = this.#keyName(keyNode, keyOffset);
      const earlier = own.get(name);
      if (earlier !== undefined) throw duplicateKey(this.#source, keyOffset, name, earlier);
      own.set(name, keyOffset);
      const plainKey = keyNode.type === 'scalar' ? keyNode.plain : undefined;
      entries.set(name, { keyOffset, plainKey, node });
    }
    return { type: 'map', offset, entries };
  }

  /** As go-yaml: what is merged replaces what stands before `<<`, and of several maps the first has precedence. */
  #merge(entries: Map<string, SourceEntry>, own: ReadonlyMap<string, number>, node: SourceNode): void {
    const maps = node.type === 'list' ? [...node.items].reverse() : [node];
    for (const map of maps) {
      if (map.type !== 'map') {
        throw invalidAt(this.#source, map.offset, 'a merge key << takes a map or a list of maps');
      }
      for (const [key, entry] of map.entries) {
        if (own.has(key) && !sameEntry(entries.get(key), entry)) {
          // YAML says that the map's own key wins, go-yaml that the later one does. Nobody should have to know.
          throw invalidAt(
            this.#source,
            own.get(key) ?? map.offset,
            `the key ${JSON.stringify(key)} stands before a merge key << that gives it another value: put << first`,
          );
        }
        entries.set(key, entry);
      }
    }
  }

  #keyName(key: SourceNode, offset: number): string {
    if (key.type !== 'scalar') throw invalidAt(this.#source, offset, 'a key that is not a scalar');
    if (key.value === null) throw invalidAt(this.#source, offset, 'a key that is null: quote it');
    return String(key.value);
  }

  #offset(node: Node): number {
    return this.#start + (node.range?.[0] ?? 0);
  }
}

const tagTypes: ReadonlyMap<string, string> = new Map([
  ['int', 'number'],
  ['float', 'number'],
  ['bool', 'boolean'],
  ['null', 'null'],
]);

function nullAfter(offset: number): SourceNode {
  return { type: 'scalar', offset, value: null, plain: '' };
}

function sameEntry(one: SourceEntry | undefined, other: SourceEntry): boolean {
  return one?.node.type === 'scalar' && other.node.type === 'scalar' && one.node.value === other.node.value;
}

function countNodes(root: SourceNode): number {
  let count = 0;
  const stack: SourceNode[] = [root];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    count += 1;
    if (count > maxAliasedNodes) return count;
    if (node.type === 'list') for (const item of node.items) stack.push(item);
    else if (node.type === 'map') for (const entry of node.entries.values()) stack.push(entry.node);
  }
  return count;
}
