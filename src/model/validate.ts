/** Checks a value (parsed YAML or JSON) against libvirt's schema: types, enumerations, lists, unknown keys. */
import type { InputProblem } from '../base/errors.ts';
import type { DocumentKind } from './document-kind.ts';
import { nearestName } from './nearest.ts';
import { expectation, writeScalar } from './scalar.ts';
import { rootType, type ElementType, type Field, type ScalarType } from './schema.ts';

/** More problems than this are not looked for. */
const maxProblems = 1000;
/** Deeper values are refused; libvirt's own documents have about twelve levels. */
const maxDepth = 256;

/**
 * Every problem of a document's value, in order. `path` is where the value stands (`spec.domain`); the problems' paths
 * continue it. What only the whole document shows (which attributes go together) is libvirt's to check.
 */
export function validateDocument(kind: DocumentKind, value: unknown, path = ''): InputProblem[] {
  const check = new Check();
  check.type(rootType(kind), value, path, 0);
  return check.problems;
}

class Check {
  readonly problems: InputProblem[] = [];

  #add(path: string, message: string): void {
    if (this.problems.length < maxProblems) this.problems.push({ path, message });
  }

  type(type: ElementType, value: unknown, path: string, depth: number): void {
    if (!isObject(value)) {
      const hint =
        type.text === undefined || (typeof value !== 'string' && typeof value !== 'number')
          ? ''
          : `; the text of the element is the key value`;
      this.#add(path, `expected an object, found ${describe(value)}${hint}`);
      return;
    }
    if (depth > maxDepth) {
      this.#add(path, `nested deeper than ${maxDepth} levels`);
      return;
    }
    for (const key of Object.keys(value)) {
      const field = type.fields.get(key);
      if (field !== undefined) this.#field(field, value[key], join(path, key), depth);
      else this.#unknown(type, key, join(path, key));
      if (this.problems.length >= maxProblems) return;
    }
  }

  #unknown(type: ElementType, key: string, path: string): void {
    const renamed = [...type.fields.values()].find((field) => field.xmlName === key && field.key !== key);
    const near = renamed?.key ?? nearestName(key, type.fields.keys());
    this.#add(path, `unknown key${near === undefined ? '' : `; did you mean ${near}?`}`);
  }

  #field(field: Field, value: unknown, path: string, depth: number): void {
    if (!field.list) {
      if (Array.isArray(value)) this.#add(path, 'expected a single value, found a list: libvirt takes it once');
      else this.#one(field, value, path, depth);
    } else if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) {
        this.#one(field, item, `${path}[${index}]`, depth);
        if (this.problems.length >= maxProblems) return;
      }
    } else {
      this.#add(path, `expected a list, found ${describe(value)}: libvirt takes it several times`);
    }
  }

  #one(field: Field, value: unknown, path: string, depth: number): void {
    if (field.raw !== undefined) {
      if (typeof value !== 'string') this.#add(path, `expected a string of XML, found ${describe(value)}`);
    } else if (field.scalar !== undefined) {
      if (writeScalar(field.scalar, value) === undefined) this.#add(path, scalarMessage(field.scalar, value));
      else if (typeof value === 'string' && !isXmlText(value)) this.#add(path, 'has a character that XML cannot hold');
    } else if (field.type !== undefined) {
      this.type(field.type, value, path, depth + 1);
    }
  }
}

function scalarMessage(scalar: ScalarType, value: unknown): string {
  const word = typeof value === 'boolean' && scalar.enum?.find((one) => yamlBoolean(one) === value);
  if (typeof word === 'string') return `expected "${word}" in quotation marks: without them YAML reads a boolean`;
  if (scalar.kind === 'boolean' && typeof value === 'string' && scalar.booleanWords?.includes(value) === true) {
    return `expected true or false, found the string "${value}"; leave the quotation marks off`;
  }
  const near = scalar.kind === 'enum' && typeof value === 'string' ? nearestName(value, scalar.enum ?? []) : undefined;
  const found = `expected ${expectation(scalar)}, found ${describe(value)}`;
  return near === undefined ? found : `${found}; did you mean ${near}?`;
}

function yamlBoolean(word: string): boolean | undefined {
  if (/^(?:y|yes|on|true)$/i.test(word)) return true;
  return /^(?:n|no|off|false)$/i.test(word) ? false : undefined;
}

/** True when XML 1.0 has every character of the text. */
export function isXmlText(text: string): boolean {
  return plainText.test(text) || !notXml.test(text);
}

/** Nearly every text; much faster to tell than the rest. */
const plainText = /^[\t\n\r\x20-\x7E]*$/;
const notXml = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u;

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** A value in a message: its type, and itself when it is short. */
function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  const text = JSON.stringify(typeof value === 'bigint' ? String(value) : value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
