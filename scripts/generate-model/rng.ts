/** Reads RELAX NG (XML syntax) into patterns: grammars, includes with overrides, `combine`, inherited `ns`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SaxesParser } from 'saxes';

/** A pattern of RELAX NG, simplified: an optional is a choice with empty, mixed does not occur in libvirt's schemas. */
export type Pattern =
  | ElementPattern
  | { readonly t: 'attribute'; readonly ns: string; readonly name: string; readonly body: Pattern }
  | { readonly t: 'group' | 'interleave' | 'choice'; readonly parts: readonly Pattern[] }
  | { readonly t: 'many' | 'optional'; readonly body: Pattern }
  | { readonly t: 'ref'; readonly name: string; readonly grammar: Grammar }
  | { readonly t: 'value'; readonly text: string }
  | DataPattern
  | { readonly t: 'text' }
  | { readonly t: 'empty' }
  | { readonly t: 'notAllowed' };

export interface DataPattern {
  readonly t: 'data';
  readonly type: string;
  readonly params: readonly (readonly [name: string, value: string])[];
}

/** An element pattern; `name` is undefined for one that takes any name. */
export interface ElementPattern {
  readonly t: 'element';
  readonly id: number;
  readonly ns: string;
  readonly name: string | undefined;
  readonly body: Pattern;
}

interface Node {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: Node[];
  text: string;
}

interface Definition {
  readonly patterns: { readonly pattern: Pattern; readonly combine: string | undefined }[];
}

/** One grammar: its definitions after including and combining. A nested `<grammar>` is one of its own. */
export class Grammar {
  readonly #definitions = new Map<string, Definition>();

  add(name: string, pattern: Pattern, combine: string | undefined): void {
    const definition = this.#definitions.get(name);
    if (definition === undefined) this.#definitions.set(name, { patterns: [{ pattern, combine }] });
    else definition.patterns.push({ pattern, combine });
  }

  /** The pattern of a definition; throws when there is none. */
  resolve(name: string): Pattern {
    const definition = this.#definitions.get(name);
    if (definition === undefined) throw new Error(`the schema refers to ${name}, which nothing defines`);
    const [first] = definition.patterns;
    if (first !== undefined && definition.patterns.length === 1) return first.pattern;
    const combine = definition.patterns.map((part) => part.combine).find((word) => word !== undefined);
    if (combine !== 'choice' && combine !== 'interleave') throw new Error(`${name} is defined twice without combine`);
    return { t: combine, parts: definition.patterns.map((part) => part.pattern) };
  }
}

/** Reads schemas out of one folder; every element pattern gets a number of its own. */
export class SchemaReader {
  readonly #folder: string;
  readonly #files = new Map<string, Node>();
  readonly #nested = new Map<string, Grammar>();
  #elements = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The start pattern of a schema file, `domain.rng` for example. */
  start(file: string): Pattern {
    return { t: 'ref', name: '#start', grammar: this.#grammar(file) };
  }

  #grammar(file: string): Grammar {
    const known = this.#nested.get(file);
    if (known !== undefined) return known;
    const grammar = new Grammar();
    this.#nested.set(file, grammar);
    this.#read(this.#file(file), grammar, new Set(), '');
    return grammar;
  }

  #file(file: string): Node {
    let node = this.#files.get(file);
    if (node === undefined) {
      node = parse(readFileSync(join(this.#folder, file), 'utf8'));
      this.#files.set(file, node);
    }
    return node;
  }

  /** Adds the definitions of a `<grammar>` or `<include>`, except those that an include overrides. */
  #read(node: Node, grammar: Grammar, overridden: ReadonlySet<string>, inheritedNs: string): void {
    const ns = node.attributes['ns'] ?? inheritedNs;
    for (const child of node.children) {
      const name = child.name === 'start' ? '#start' : (child.attributes['name'] ?? '');
      if (child.name === 'define' || child.name === 'start') {
        if (overridden.has(name)) continue;
        grammar.add(name, this.#group(child, grammar, ns), child.attributes['combine']);
      } else if (child.name === 'include') {
        const overrides = new Set(overridden);
        for (const inner of child.children) {
          overrides.add(inner.name === 'start' ? '#start' : (inner.attributes['name'] ?? ''));
        }
        // An included file's start is not ours when we have one: libvirt's common files have none.
        this.#read(this.#file(child.attributes['href'] ?? ''), grammar, overrides, '');
        this.#read({ ...child, attributes: {} }, grammar, overridden, ns);
      } else if (child.name === 'div') {
        this.#read(child, grammar, overridden, ns);
      } else {
        throw new Error(`<${child.name}> in a grammar is not supported`);
      }
    }
  }

  #group(node: Node, grammar: Grammar, ns: string, t: 'group' | 'interleave' | 'choice' = 'group'): Pattern {
    const parts = node.children.map((child) => this.#pattern(child, grammar, ns));
    const [first] = parts;
    return first !== undefined && parts.length === 1 ? first : { t, parts };
  }

  #pattern(node: Node, grammar: Grammar, inheritedNs: string): Pattern {
    const ns = node.attributes['ns'] ?? inheritedNs;
    switch (node.name) {
      case 'element':
        return this.#element(node, grammar, ns);
      case 'attribute': {
        const name = node.attributes['name'];
        if (name === undefined) return { t: 'empty' }; // anyName, only inside other people's XML
        const body: Pattern = node.children.length === 0 ? { t: 'text' } : this.#group(node, grammar, ns);
        return { t: 'attribute', ns: node.attributes['ns'] ?? '', name, body };
      }
      case 'group':
      case 'interleave':
      case 'choice':
        return this.#group(node, grammar, ns, node.name);
      case 'optional':
        return { t: 'optional', body: this.#group(node, grammar, ns) };
      case 'zeroOrMore':
        return { t: 'optional', body: { t: 'many', body: this.#group(node, grammar, ns) } };
      case 'oneOrMore':
        return { t: 'many', body: this.#group(node, grammar, ns) };
      case 'ref':
        return { t: 'ref', name: node.attributes['name'] ?? '', grammar };
      case 'value':
        return { t: 'value', text: node.text.trim() };
      case 'data': {
        const params = node.children.filter((child) => child.name === 'param');
        return {
          t: 'data',
          type: node.attributes['type'] ?? 'string',
          params: params.map((child) => [child.attributes['name'] ?? '', child.text] as const),
        };
      }
      case 'text':
      case 'empty':
      case 'notAllowed':
        return { t: node.name };
      case 'grammar': {
        const [include] = node.children;
        if (node.children.length !== 1 || include?.name !== 'include' || include.children.length > 0) {
          throw new Error('a nested grammar is expected to be one include');
        }
        return this.start(include.attributes['href'] ?? '');
      }
      default:
        throw new Error(`<${node.name}> is not supported`);
    }
  }

  #element(node: Node, grammar: Grammar, ns: string): Pattern {
    const name = node.attributes['name'];
    this.#elements += 1;
    const id = this.#elements;
    if (name === undefined && node.children[0]?.name !== 'anyName') throw new Error('an element without a name');
    const body: Pattern = name === undefined ? { t: 'empty' } : this.#group(node, grammar, ns);
    return { t: 'element', id, ns, name, body };
  }
}

function parse(text: string): Node {
  const root: Node = { name: '', attributes: {}, children: [], text: '' };
  const open: Node[] = [root];
  const parser = new SaxesParser();
  parser.on('opentag', (tag) => {
    const node: Node = { name: tag.name, attributes: tag.attributes, children: [], text: '' };
    open.at(-1)?.children.push(node);
    open.push(node);
  });
  parser.on('text', (part) => {
    const node = open.at(-1);
    if (node !== undefined) node.text += part;
  });
  parser.on('closetag', () => open.pop());
  parser.on('error', (error) => {
    throw error;
  });
  parser.write(text).close();
  const [grammar] = root.children;
  if (grammar?.name !== 'grammar') throw new Error('not a RELAX NG grammar');
  return grammar;
}
