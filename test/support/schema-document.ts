/** Documents made from libvirt's RELAX NG itself: every order and every choice that the schema allows. */
import fc, { type Arbitrary } from 'fast-check';
import { SchemaReader, type Pattern } from '../../scripts/generate-model/rng.ts';
import { scalarOf } from '../../scripts/generate-model/scalar.ts';
import type { DocumentKind } from '../../src/model/document-kind.ts';

/** What is inside an element so far. */
interface Inside {
  readonly attributes: Map<string, string>;
  readonly children: string[];
  text: string;
}

/** A whole number from 0 to `below` - 1. */
type Draw = (below: number) => number;

/** Documents of a kind from the schemas in a folder. Most are valid; a text may break a rule that no pattern shows. */
export function schemaDocument(folder: string, kind: DocumentKind): Arbitrary<string> {
  const start = new SchemaReader(folder).start(`${kind}.rng`);
  return fc.gen().map((next) => {
    const draw: Draw = (below) => next(fc.nat, { max: below - 1 });
    const inside = empty();
    return write(start, inside, 0, draw) ? (inside.children[0] ?? '') : '';
  });
}

function empty(): Inside {
  return { attributes: new Map(), children: [], text: '' };
}

/** Writes something that matches a pattern; false when nothing does. */
function write(pattern: Pattern, into: Inside, depth: number, draw: Draw): boolean {
  switch (pattern.t) {
    case 'element': {
      if (pattern.name === undefined) {
        into.children.push('<z:a xmlns:z="urn:z" b="1">t<c/></z:a>');
        return true;
      }
      const own = empty();
      if (!write(pattern.body, own, depth + 1, draw)) return false;
      const attributes = [...own.attributes].map(([name, value]) => ` ${name}="${escape(value)}"`).join('');
      const content = escape(own.text) + own.children.join('');
      into.children.push(`<${pattern.name} xmlns="${pattern.ns}"${attributes}>${content}</${pattern.name}>`);
      return true;
    }
    case 'attribute':
      into.attributes.set(pattern.name, text(pattern.body, draw));
      return true;
    case 'group':
      return pattern.parts.every((part) => write(part, into, depth, draw));
    case 'interleave':
      return interleave(pattern.parts, into, depth, draw);
    case 'choice': {
      const first = draw(pattern.parts.length);
      const parts = [...pattern.parts.slice(first), ...pattern.parts.slice(0, first)];
      return parts.some((part) => attempt(part, into, depth, draw));
    }
    case 'optional':
      if (draw(100) < (depth > 9 ? 3 : depth > 5 ? 25 : 45)) attempt(pattern.body, into, depth, draw);
      return true;
    case 'many': {
      const times = 1 + draw(3);
      let written = 0;
      while (written < times && attempt(pattern.body, into, depth, draw)) written += 1;
      return written > 0;
    }
    case 'ref':
      return write(pattern.grammar.resolve(pattern.name), into, depth, draw);
    case 'value':
    case 'data':
    case 'text':
      into.text += text(pattern, draw);
      return true;
    case 'empty':
      return true;
    case 'notAllowed':
      return false;
  }
}

/** As {@link write}, but leaves nothing behind where it fails. */
function attempt(pattern: Pattern, into: Inside, depth: number, draw: Draw): boolean {
  const own: Inside = { ...empty(), attributes: new Map(into.attributes) };
  if (!write(pattern, own, depth, draw)) return false;
  for (const [name, value] of own.attributes) into.attributes.set(name, value);
  into.children.push(...own.children);
  into.text += own.text;
  return true;
}

/** The children of all parts in any order that keeps each part's own. */
function interleave(parts: readonly Pattern[], into: Inside, depth: number, draw: Draw): boolean {
  const queues: string[][] = [];
  for (const part of parts) {
    const own: Inside = { ...empty(), attributes: into.attributes };
    if (!write(part, own, depth, draw)) return false;
    into.text += own.text;
    if (own.children.length > 0) queues.push(own.children);
  }
  while (queues.length > 0) {
    const at = draw(queues.length);
    const next = queues[at]?.shift();
    if (next !== undefined) into.children.push(next);
    if (queues[at]?.length === 0) queues.splice(at, 1);
  }
  return true;
}

const samples = new Map<string, readonly string[]>();

function text(pattern: Pattern, draw: Draw): string {
  const scalar = scalarOf([pattern]);
  const pick = (from: readonly string[]): string => from[draw(from.length)] ?? '';
  if (scalar.kind === 'boolean' || scalar.kind === 'enum') return pick(scalar.words ?? []);
  if (scalar.kind !== 'string') {
    const [min, max] = [BigInt(scalar.min ?? '-5'), BigInt(scalar.max ?? '1000000')];
    return pick([min, max, min + 1n, (min + max) / 2n].map(String));
  }
  if (scalar.patterns === undefined) return pick(['x y', 'a&b<c>', 'é"\'', ' z ', '1']);
  const chosen = pick(scalar.patterns);
  let known = samples.get(chosen);
  if (known === undefined) {
    const matching = chosen === '' ? fc.constant('') : fc.stringMatching(new RegExp(`^(?:${chosen})$`, 'u'));
    known = fc.sample(
      matching.filter((one) => !/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD]/.test(one)),
      { numRuns: 6, seed: 1 },
    );
    samples.set(chosen, known);
  }
  return pick(known);
}

function escape(value: string): string {
  return value.replaceAll(/[&<>"\t\n\r]/g, (char) => `&#${char.charCodeAt(0)};`);
}
