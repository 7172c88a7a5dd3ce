import { isPlainSafe } from './plain-scalar.ts';
import { FailedError } from '../../base/errors.ts';

/** Deeper values are not written: the reader would refuse them. */
const maxDepth = 128;

/**
 * Writes a value of objects, arrays, strings, numbers, bigints, booleans and null as one YAML document, in the block
 * style that kubectl prints: two spaces, list entries under their key without more indentation, keys in their order.
 * Every string that YAML 1.1 would take for something else is quoted. An `undefined` entry of an object is left out.
 *
 * @returns The document with a line break at its end, without `---`.
 * @throws FailedError for what YAML's JSON-like subset cannot hold: an infinite number, a function, absurd nesting.
 */
export function writeYaml(value: unknown): string {
  const out: string[] = [];
  if (isBlock(value)) {
    writeBlock(out, value, '', false, 0);
  } else {
    writeInline(out, value, '');
  }
  return out.join('');
}

/** Writes several documents, with `---` between them. */
export function writeYamlDocuments(values: Iterable<unknown>): string {
  return [...values].map(writeYaml).join('---\n');
}

type Container = readonly unknown[] | Readonly<Record<string, unknown>>;

function isBlock(value: unknown): value is Container {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.length > 0;
  for (const key in value) if ((value as Record<string, unknown>)[key] !== undefined) return true;
  return false;
}

/** @param onLine Whether the first entry goes on the line that is begun already (behind a list's dash). */
function writeBlock(out: string[], value: Container, indent: string, onLine: boolean, depth: number): void {
  if (depth > maxDepth) throw new FailedError(`a value nested deeper than ${maxDepth} levels cannot be written`);
  let begun = onLine;
  if (Array.isArray(value)) {
    for (const item of value as readonly unknown[]) {
      out.push(begun ? '- ' : `${indent}- `);
      begun = false;
      if (isBlock(item)) writeBlock(out, item, `${indent}  `, true, depth + 1);
      else writeInline(out, item, indent);
    }
    return;
  }
  const map = value as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(map)) {
    const entry = map[key];
    if (entry === undefined) continue;
    out.push(begun ? '' : indent, isPlainSafe(key) ? key : quoted(key));
    begun = false;
    if (!isBlock(entry)) {
      out.push(': ');
      writeInline(out, entry, indent);
    } else {
      out.push(':\n');
      writeBlock(out, entry, Array.isArray(entry) ? indent : `${indent}  `, false, depth + 1);
    }
  }
}

function writeInline(out: string[], value: unknown, indent: string): void {
  switch (typeof value) {
    case 'string':
      out.push(isLiteralSafe(value) ? literal(value, `${indent}  `) : isPlainSafe(value) ? value : quoted(value), '\n');
      return;
    case 'number':
      if (!Number.isFinite(value))
        throw new FailedError(`the number ${value} cannot be written as YAML for Kubernetes`);
      out.push(String(value), '\n');
      return;
    case 'boolean':
    case 'bigint':
      out.push(String(value), '\n');
      return;
    case 'object':
      out.push(value === null ? 'null\n' : Array.isArray(value) ? '[]\n' : '{}\n');
      return;
    case 'undefined':
      out.push('null\n');
      return;
    default:
      throw new FailedError(`a ${typeof value} cannot be written as YAML`);
  }
}

/** Several lines that a block scalar keeps exactly: a first line that sets the indentation, no blank line at the end. */
const literalShape =
  /^[!-~\u00a1-\u2027\u2030-\ud7ff\ue000-\ufefe\uff00-\ufffd][\t\n -~\u00a0-\u2027\u2030-\ud7ff\ue000-\ufefe\uff00-\ufffd]*[^\n\t ]\n?$/;

function isLiteralSafe(text: string): boolean {
  const firstBreak = text.indexOf('\n');
  return firstBreak !== -1 && firstBreak !== text.length - 1 && literalShape.test(text);
}

function literal(text: string, indent: string): string {
  const ends = text.endsWith('\n');
  const body = ends ? text.slice(0, -1) : text;
  // An empty line stays empty: indentation is not content.
  const lines = body.replaceAll(/\n(?!\n)/g, `\n${indent}`);
  return `${ends ? '|' : '|-'}\n${indent}${lines}`;
}

/** What JSON leaves as it is and YAML does not print, or reads as a line break. */
const unprintable = /[\u007f-\u00a0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]/;
const eachUnprintable = new RegExp(unprintable, 'g');
const control = /[\0-\x1f]/; // eslint-disable-line no-control-regex -- finding control characters is its purpose

function quoted(text: string): string {
  const hidden = unprintable.test(text) && !isWellFormedBeyondBmp(text);
  if (!hidden && !control.test(text) && (text.includes('"') || text.includes('\\'))) {
    return `'${text.replaceAll("'", "''")}'`;
  }
  const json = JSON.stringify(text);
  if (!hidden) return json;
  // JSON's escapes are YAML's. Half a surrogate pair is not a character for YAML; U+FFFD is what a decoder makes of it.
  return json
    .replaceAll(/\\ud[89a-f][0-9a-f]{2}/g, '\\ufffd')
    .replaceAll(/[\u007f-\u00a0\u2028\u2029\ufeff\ufffe\uffff]/g, (character) => {
      return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
    });
}

/** True when the only reason to look closer are whole surrogate pairs, which YAML prints as they are. */
function isWellFormedBeyondBmp(text: string): boolean {
  return text.replaceAll(/[\ud800-\udbff][\udc00-\udfff]/g, '').match(eachUnprintable) === null;
}
