/** Scalars between XML's text and YAML's values, by type. Lossless: what has no faithful value is not converted. */
import type { ScalarType } from './schema.ts';

/** A scalar in YAML. */
export type ScalarValue = string | number | boolean;

const canonicalInteger = /^(?:0|-?[1-9][0-9]*)$/;
const anyInteger = /^[+-]?[0-9]+$/;
const compiledTypes = new WeakMap<ScalarType, Compiled>();

/**
 * The YAML value of a text in XML; undefined when the type has no value that is written as exactly this text, as
 * `007` for an integer or a word that is not in the enumeration.
 */
export function readScalar(type: ScalarType, text: string): ScalarValue | undefined {
  switch (type.kind) {
    case 'string':
      return type.pattern === undefined && type.maxLength === undefined && type.minLength === undefined
        ? text
        : matches(type, text)
          ? text
          : undefined;
    case 'enum':
      return type.enum?.includes(text) === true ? text : undefined;
    case 'boolean':
      return text === type.booleanWords?.[0] ? true : text === type.booleanWords?.[1] ? false : undefined;
    case 'integer':
    case 'int-or-string':
      return readInteger(type, text);
  }
}

function readInteger(type: ScalarType, text: string): ScalarValue | undefined {
  if (text.length < 16 && canonicalInteger.test(text)) {
    return inRange(type, text) ? Number(text) : undefined;
  }
  if (type.kind === 'integer' || !anyInteger.test(text) || text.length > 64 || !inRange(type, text)) return undefined;
  const number = Number(text);
  return Number.isSafeInteger(number) && String(number) === text ? number : text;
}

function inRange(type: ScalarType, digits: string): boolean {
  const { min, max } = type;
  if (min === undefined && max === undefined) return true;
  if (digits.length < 16) {
    const { low, high } = compiled(type);
    const number = Number(digits);
    return number >= low && number <= high;
  }
  const value = BigInt(digits.startsWith('+') ? digits.slice(1) : digits);
  return (min === undefined || value >= min) && (max === undefined || value <= max);
}

/** What a type needs for checking, made once. */
interface Compiled {
  readonly expression: RegExp | undefined;
  /** The bounds as numbers: exact enough for digits that fit one. */
  readonly low: number;
  readonly high: number;
}

function compiled(type: ScalarType): Compiled {
  let found = compiledTypes.get(type);
  if (found === undefined) {
    found = {
      expression: type.pattern === undefined ? undefined : new RegExp(`^(?:${type.pattern})$`, 'u'),
      low: type.min === undefined ? -Infinity : Number(type.min),
      high: type.max === undefined ? Infinity : Number(type.max),
    };
    compiledTypes.set(type, found);
  }
  return found;
}

function matches(type: ScalarType, text: string): boolean {
  const { minLength, maxLength } = type;
  if (minLength !== undefined || maxLength !== undefined) {
    const length = Array.from(text).length;
    if (length < (minLength ?? 0) || length > (maxLength ?? Infinity)) return false;
  }
  return compiled(type).expression?.test(text) ?? true;
}

/**
 * True when a text is a value of the type in another spelling than {@link writeScalar}'s: `007`, ` 4 `, ` yes `. libvirt's
 * schema takes these, since XML Schema's integers may begin with zeros and a plus, and white space around them and around RELAX NG's
 * words does not count; but no YAML value gives them back.
 */
export function isOtherSpelling(type: ScalarType, text: string): boolean {
  if (type.kind === 'string') return false;
  const words = text
    .split(/[ \t\r\n]+/)
    .filter((word) => word !== '')
    .join(' ');
  const isWord = type.kind === 'enum' || type.kind === 'boolean';
  const usual = isWord ? words : words.replace(/^\+?(-?)0*(?=[0-9])/, '$1').replace(/^-0$/, '0');
  return usual !== text && readScalar(type, usual) !== undefined;
}

/** The text in XML of a YAML value; undefined when the value is not of the type (see {@link expectation}). */
export function writeScalar(type: ScalarType, value: unknown): string | undefined {
  switch (type.kind) {
    case 'string':
      return typeof value === 'string' && matches(type, value) ? value : undefined;
    case 'enum':
      return typeof value === 'string' && type.enum?.includes(value) === true ? value : undefined;
    case 'boolean':
      return typeof value === 'boolean' ? type.booleanWords?.[value ? 0 : 1] : undefined;
    case 'integer':
      return Number.isSafeInteger(value) && inRange(type, String(value)) ? String(value) : undefined;
    case 'int-or-string': {
      const digits = Number.isSafeInteger(value) || typeof value === 'bigint' ? String(value) : value;
      if (typeof digits !== 'string' || digits.length > 64 || !anyInteger.test(digits)) return undefined;
      return inRange(type, digits) ? digits : undefined;
    }
  }
}

/** What a type takes, in words for a message: `one of raw, qcow2`, `an integer from 0 to 255`. */
export function expectation(type: ScalarType): string {
  switch (type.kind) {
    case 'boolean':
      return 'true or false';
    case 'enum':
      return type.enum?.length === 1 ? quote(type.enum[0] ?? '') : `one of ${(type.enum ?? []).map(quote).join(', ')}`;
    case 'integer':
    case 'int-or-string': {
      const { min, max } = type;
      if (min === undefined && max === undefined) return 'an integer';
      if (max === undefined) return `an integer from ${String(min)}`;
      return min === undefined ? `an integer up to ${String(max)}` : `an integer from ${String(min)} to ${String(max)}`;
    }
    case 'string':
      if (type.pattern !== undefined) return `a string that matches ${type.pattern}`;
      return type.maxLength === undefined ? 'a string' : `a string of at most ${type.maxLength} characters`;
  }
}

function quote(word: string): string {
  return word === '' || /^(?:y|n|yes|no|on|off|true|false|null|~)$|^[-+.]?[0-9]/i.test(word) ? `"${word}"` : word;
}
