/** Decides what a text or attribute is in YAML (design section 3, rule 5), from its patterns. */
import type { Pattern } from './rng.ts';

/** A scalar as the tables hold it; see ScalarType in src/model/schema.ts. */
export interface Scalar {
  readonly kind: 'boolean' | 'integer' | 'int-or-string' | 'enum' | 'string';
  /** The words of an enumeration; of a boolean, the one for true first. */
  readonly words?: readonly string[];
  /** Decimal, since 64-bit bounds are no JavaScript numbers. */
  readonly min?: string;
  readonly max?: string;
  /** Regular expressions of which one must match the whole text. */
  readonly patterns?: readonly string[];
  /** In characters. */
  readonly minLength?: number;
  readonly maxLength?: number;
}

type Leaf = Extract<Pattern, { t: 'value' | 'data' | 'text' | 'empty' }>;

const integerBounds: Readonly<Record<string, readonly [min: bigint | undefined, max: bigint | undefined]>> = {
  integer: [undefined, undefined],
  positiveInteger: [1n, undefined],
  nonNegativeInteger: [0n, undefined],
  long: [-(2n ** 63n), 2n ** 63n - 1n],
  int: [-(2n ** 31n), 2n ** 31n - 1n],
  short: [-(2n ** 15n), 2n ** 15n - 1n],
  unsignedLong: [0n, 2n ** 64n - 1n],
  unsignedInt: [0n, 2n ** 32n - 1n],
  unsignedShort: [0n, 2n ** 16n - 1n],
  unsignedByte: [0n, 255n],
};
const safe = 2n ** 53n - 1n;
const booleans: readonly (readonly [string, string])[] = [
  ['yes', 'no'],
  ['on', 'off'],
];

/** What the patterns of an attribute, or of an element's text, are together. `mayBeEmpty`: also nothing at all. */
export function scalarOf(patterns: readonly Pattern[]): Scalar {
  const leaves = patterns.flatMap((pattern) => leavesOf(pattern));
  const words = [...new Set(leaves.flatMap((leaf) => (leaf.t === 'value' ? [leaf.text] : [])))];
  const data = leaves.flatMap((leaf) => (leaf.t === 'data' ? [leaf] : []));
  const empty = leaves.some((leaf) => leaf.t === 'empty');
  if (leaves.some((leaf) => leaf.t === 'text')) return { kind: 'string' };
  if (data.length === 0 && words.length > 0 && !empty) {
    const boolean = booleans.find((pair) => pair.length === words.length && pair.every((word) => words.includes(word)));
    return boolean === undefined ? { kind: 'enum', words } : { kind: 'boolean', words: boolean };
  }
  if (!empty && data.length > 0 && data.every(isDecimal) && words.every((word) => /^-?[0-9]+$/.test(word))) {
    return integerScalar(data.map(boundsOf), words);
  }
  return stringScalar(data, words, empty);
}

type Data = Extract<Pattern, { t: 'data' }>;
type Bounds = readonly [min: bigint | undefined, max: bigint | undefined];

/** An integer type whose pattern has only the digits 0 to 7 is octal: `0744` is no decimal number. */
function isDecimal(data: Data): boolean {
  return (
    data.type in integerBounds && !data.params.some(([name, value]) => name === 'pattern' && value.includes('0-7'))
  );
}

function boundsOf(data: Data): Bounds {
  let [min, max] = integerBounds[data.type] ?? [undefined, undefined];
  for (const [name, value] of data.params) {
    const bound = /^-?[0-9]+$/.test(value) ? BigInt(value) : undefined;
    if (bound === undefined) continue;
    if (name === 'minInclusive' && (min === undefined || bound > min)) min = bound;
    if (name === 'maxInclusive' && (max === undefined || bound < max)) max = bound;
  }
  return [min, max];
}

function integerScalar(all: readonly Bounds[], words: readonly string[]): Scalar {
  const bounds = [...all, ...words.map((word): Bounds => [BigInt(word), BigInt(word)])];
  let [min, max] = bounds[0] ?? [undefined, undefined];
  for (const [otherMin, otherMax] of bounds) {
    min = min === undefined || otherMin === undefined ? undefined : otherMin < min ? otherMin : min;
    max = max === undefined || otherMax === undefined ? undefined : otherMax > max ? otherMax : max;
  }
  const small = min !== undefined && max !== undefined && min >= -safe && max <= safe;
  return {
    kind: small ? 'integer' : 'int-or-string',
    ...(min === undefined ? {} : { min: String(min) }),
    ...(max === undefined ? {} : { max: String(max) }),
  };
}

function stringScalar(data: readonly Data[], words: readonly string[], empty: boolean): Scalar {
  const patterns = new Set(words.map(literal));
  if (empty) patterns.add('');
  const lengths: { minLength?: number; maxLength?: number } = {};
  for (const leaf of data) {
    const own = leaf.params.filter(([name]) => name === 'pattern').map(([, value]) => xsdPattern(value));
    const length = leaf.params.filter(([name]) => name === 'minLength' || name === 'maxLength' || name === 'length');
    if (length.length > 0 && data.length === 1 && patterns.size === 0) {
      for (const [name, value] of length) {
        if (name !== 'maxLength') lengths.minLength = Number(value);
        if (name !== 'minLength') lengths.maxLength = Number(value);
      }
    }
    if (own.length === 1 && own[0] !== undefined) patterns.add(own[0]);
    else if (leaf.type in integerBounds) patterns.add('[+\\-]?[0-9]+');
    else return { kind: 'string', ...lengths };
  }
  return { kind: 'string', patterns: [...patterns].sort((a, b) => a.length - b.length), ...lengths };
}

function leavesOf(pattern: Pattern): Leaf[] {
  switch (pattern.t) {
    case 'value':
    case 'data':
    case 'text':
    case 'empty':
      return [pattern];
    case 'ref':
      return leavesOf(pattern.grammar.resolve(pattern.name));
    case 'choice':
      return pattern.parts.flatMap(leavesOf);
    case 'group':
    case 'interleave': {
      const parts = pattern.parts.filter((part) => part.t !== 'empty');
      if (parts.length > 1) throw new Error('several texts in one place are not supported');
      return parts.length === 0 ? [{ t: 'empty' }] : parts.flatMap(leavesOf);
    }
    case 'optional':
      return [...leavesOf(pattern.body), { t: 'empty' }];
    default:
      throw new Error(`a ${pattern.t} inside a text is not supported`);
  }
}

/** A literal inside a regular expression. */
function literal(word: string): string {
  return word.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

/** XML Schema's regular expression as one that JavaScript (flag `u`) and RE2 both read; neither anchored. */
function xsdPattern(source: string): string {
  let out = '';
  let inClass = false;
  for (let i = 0; i < source.length; i += 1) {
    const char = source.charAt(i);
    if (char === '\\') {
      i += 1;
      const escaped = source.charAt(i);
      if (/[sSdDwW.^$*+?()[\]{}|\\nrt]/.test(escaped)) out += `\\${escaped}`;
      else if (escaped === '-') out += inClass ? '\\-' : '-';
      else throw new Error(`\\${escaped} in a pattern is not supported`);
    } else if (!inClass && (char === '^' || char === '$')) {
      out += `\\${char}`;
    } else if (inClass && char === '[') {
      out += '\\[';
    } else {
      if (char === '[') inClass = true;
      if (char === ']') inClass = false;
      out += char;
      // A negated class's own caret follows its bracket.
      if (char === '[' && source.charAt(i + 1) === '^') {
        out += '^';
        i += 1;
      }
    }
  }
  new RegExp(`^(?:${out})$`, 'u');
  return out;
}
