/** What may stand inside an element: its attributes, children and text, from its patterns, in schema order. */
import type { ElementPattern, Pattern } from './rng.ts';

export interface AttributeUse {
  readonly ns: string;
  readonly name: string;
  readonly bodies: readonly Pattern[];
  readonly required: boolean;
}

export interface ChildUse {
  readonly ns: string;
  readonly name: string;
  readonly patterns: readonly ElementPattern[];
  readonly required: boolean;
  /** May stand there more than once. */
  readonly repeats: boolean;
}

export interface Content {
  readonly attributes: ReadonlyMap<string, AttributeUse>;
  readonly children: ReadonlyMap<string, ChildUse>;
  /** Patterns of the text; none when there may be no text. */
  readonly text: readonly Pattern[];
  /** Where there may be text, some form has none. */
  readonly textMayLack: boolean;
  /** Holds other people's XML. */
  readonly any: boolean;
  /** Pairs `before\0after` of children that the schema puts in this order. */
  readonly order: ReadonlySet<string>;
}

const nothing: Content = {
  attributes: new Map(),
  children: new Map(),
  text: [],
  textMayLack: true,
  any: false,
  order: new Set(),
};

/** What a pattern allows; undefined when it can never match (`notAllowed`). */
export function contentOf(pattern: Pattern): Content | undefined {
  switch (pattern.t) {
    case 'element': {
      if (pattern.name === undefined) return { ...nothing, any: true };
      if (neverMatches(pattern.body)) return undefined;
      const child: ChildUse = {
        ns: pattern.ns,
        name: pattern.name,
        patterns: [pattern],
        required: true,
        repeats: false,
      };
      return { ...nothing, children: new Map([[keyOf(child), child]]) };
    }
    case 'attribute': {
      if (neverMatches(pattern.body)) return undefined;
      const use: AttributeUse = { ns: pattern.ns, name: pattern.name, bodies: [pattern.body], required: true };
      return { ...nothing, attributes: new Map([[keyOf(use), use]]) };
    }
    case 'group':
    case 'interleave': {
      const parts = pattern.parts.map(contentOf);
      if (parts.includes(undefined)) return undefined;
      return merge(parts as Content[], 'all', pattern.t === 'group');
    }
    case 'choice': {
      const parts = pattern.parts.map(contentOf).filter((part) => part !== undefined);
      return parts.length === 0 ? undefined : merge(parts, 'one', false);
    }
    case 'optional':
      return merge([contentOf(pattern.body) ?? nothing, nothing], 'one', false);
    case 'many': {
      const once = contentOf(pattern.body);
      if (once === undefined) return undefined;
      const children = [...once.children].map(([key, use]) => [key, { ...use, repeats: true }] as const);
      return { ...once, children: new Map(children) };
    }
    case 'ref':
      return contentOf(pattern.grammar.resolve(pattern.name));
    case 'value':
    case 'data':
    case 'text':
      return { ...nothing, text: [pattern], textMayLack: false };
    case 'empty':
      return nothing;
    case 'notAllowed':
      return undefined;
  }
}

/** What several element patterns of one name allow together. */
export function contentOfElements(patterns: readonly ElementPattern[]): Content {
  const parts = patterns.map((pattern) => contentOf(pattern.body)).filter((part) => part !== undefined);
  return merge(parts, 'one', false);
}

function keyOf(use: { ns: string; name: string }): string {
  return use.ns === '' ? use.name : `${use.ns}|${use.name}`;
}

function merge(parts: readonly Content[], take: 'all' | 'one', ordered: boolean): Content {
  const attributes = new Map<string, AttributeUse>();
  const children = new Map<string, ChildUse>();
  const order = new Set<string>();
  const everywhere = (key: string, of: (part: Content) => { required: boolean } | undefined): boolean =>
    take === 'all'
      ? parts.some((part) => of(part)?.required === true)
      : parts.every((part) => of(part)?.required === true);
  for (const part of parts) {
    if (ordered) {
      for (const before of children.keys()) {
        for (const after of part.children.keys()) if (before !== after) order.add(`${before}\0${after}`);
      }
    }
    for (const pair of part.order) order.add(pair);
    for (const [key, use] of part.attributes) {
      const known = attributes.get(key);
      const required = everywhere(key, (other) => other.attributes.get(key));
      attributes.set(key, { ...use, required, bodies: [...new Set([...(known?.bodies ?? []), ...use.bodies])] });
    }
    for (const [key, use] of part.children) {
      const known = children.get(key);
      const required = everywhere(key, (other) => other.children.get(key));
      const patterns = [...new Set([...(known?.patterns ?? []), ...use.patterns])];
      const repeats = use.repeats || known?.repeats === true || (known !== undefined && take === 'all');
      children.set(key, { ...use, required, patterns, repeats });
    }
  }
  return {
    attributes,
    children,
    order,
    text: parts.flatMap((part) => part.text),
    textMayLack: take === 'all' ? parts.every((part) => part.textMayLack) : parts.some((part) => part.textMayLack),
    any: parts.some((part) => part.any),
  };
}

function neverMatches(pattern: Pattern): boolean {
  // Only the shape that libvirt uses for private data; recursing would not end on recursive elements.
  return pattern.t === 'notAllowed' || (pattern.t === 'group' && pattern.parts.some((part) => part.t === 'notAllowed'));
}
