/**
 * Parsers of the flags that select objects: they hand on the text as it is, once it has the form that API servers take
 * (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors and
 * https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/).
 */
import { InvalidArgumentError } from 'commander';
import { isLabelValue, isQualifiedName } from './object-name.ts';

const word = '[^\\s,()=!<>]';
const negated = new RegExp(`^!\\s*(${word}+)\\s*`);
const start = new RegExp(`^(${word}+)\\s*`);
const equality = new RegExp(`^(?:==|=|!=)\\s*(${word}*)\\s*`);
const membership = /^(?:in|notin)\s*\(([^()]*)\)\s*/;
const comparison = /^[<>]\s*[-+]?\d+\s*/;

/**
 * Parses what `-l` has: `app=web,tier!=test,zone in (a,b),!old`.
 *
 * @returns The text.
 * @throws InvalidArgumentError, which commander reports with the flag's name.
 */
export function parseLabelSelector(text: string): string {
  let rest = text.trim();
  if (rest === '') return text;
  for (;;) {
    rest = afterRequirement(rest);
    if (rest === '') return text;
    if (!rest.startsWith(',')) throw refused();
    rest = rest.slice(1).trimStart();
  }
}

/** What follows a requirement that a text begins with. */
function afterRequirement(text: string): string {
  const [none, absent] = negated.exec(text) ?? [];
  if (none !== undefined) return checked([absent], [], text.slice(none.length));
  const [head, key] = start.exec(text) ?? [];
  if (head === undefined) throw refused();
  const rest = text.slice(head.length);
  const [equal, value = ''] = equality.exec(rest) ?? [];
  if (equal !== undefined) return checked([key], [value], rest.slice(equal.length));
  const [member, list = ''] = membership.exec(rest) ?? [];
  if (member !== undefined) {
    const values = list.split(',').map((one) => one.trim());
    return checked([key], values, rest.slice(member.length));
  }
  return checked([key], [], rest.slice(comparison.exec(rest)?.[0].length ?? 0));
}

function checked(keys: readonly (string | undefined)[], values: readonly string[], rest: string): string {
  if (keys.every((key) => key !== undefined && isQualifiedName(key)) && values.every(isLabelValue)) return rest;
  throw refused();
}

const refused = (): InvalidArgumentError => new InvalidArgumentError('expected labels, as app=web,tier!=test.');

/**
 * Parses what `--field-selector` has: `metadata.name=web,type!=Normal`. Which fields there are the server knows.
 *
 * @returns The text.
 * @throws InvalidArgumentError, which commander reports with the flag's name.
 */
export function parseFieldSelector(text: string): string {
  const terms = text.split(/(?<!\\),/).filter((term) => term.trim() !== '');
  // A value has "=", "," and "\" behind a "\".
  if (terms.every((term) => /^[^=!]+(?:!=|==|=)(?:[^\\=]|\\[\\,=])*$/s.test(term))) return text;
  throw new InvalidArgumentError('expected fields, as metadata.name=web.');
}
