/**
 * kubectl's JSONPath templates (https://kubernetes.io/docs/reference/kubectl/jsonpath/): text with expressions in
 * braces. Fields, `..` recursion, indices, slices, unions, wildcards, filters, `range … end` and quoted text.
 */
import { UsageError } from '../../base/errors.ts';

type Value = unknown;
type Step = (values: readonly Value[]) => Value[];

type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'path'; readonly find: (value: Value, root: Value) => Value[] }
  | { readonly type: 'range'; readonly find: (value: Value, root: Value) => Value[]; readonly body: readonly Part[] };

/** Deeper nesting is not followed. */
const maxDepth = 200;

/**
 * Compiles a template.
 *
 * @returns A function that writes it for an object. What an expression finds is written with spaces between; a missing
 *   field is written as nothing.
 * @throws UsageError when the template is not understood.
 */
export function compileTemplate(template: string): (object: Value) => string {
  // Without any brace it can only be meant as an expression: `.metadata.name`.
  const text = template.includes('{') ? template : `{${template}}`;
  const tokens = tokenise(text);
  const position = { index: 0 };
  const parts = parseParts(tokens, position, false, template);
  return (object) => writeParts(parts, object, object);
}

/**
 * Compiles one expression, with or without braces and leading dot.
 *
 * @returns A function that gives everything found.
 */
export function compileExpression(expression: string): (object: Value) => Value[] {
  const inner = expression
    .trim()
    .replace(/^\{(.*)\}$/s, '$1')
    .trim();
  const path = /^[$@.[]/.test(inner) ? inner : `.${inner}`;
  const find = parsePath(path, expression);
  return (object) => find(object, object);
}

/** A found value as text: strings as they are, objects and lists as JSON. */
export function foundText(value: Value): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

interface Token {
  readonly braced: boolean;
  readonly text: string;
}

function tokenise(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf('{', at);
    if (open < 0) {
      tokens.push({ braced: false, text: text.slice(at) });
      break;
    }
    if (open > at) tokens.push({ braced: false, text: text.slice(at, open) });
    const close = closingBrace(text, open);
    tokens.push({ braced: true, text: text.slice(open + 1, close).trim() });
    at = close + 1;
  }
  return tokens;
}

function closingBrace(text: string, open: number): number {
  let quote = '';
  for (let at = open + 1; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (quote !== '') {
      if (char === '\\') at += 1;
      else if (char === quote) quote = '';
    } else if (char === '"' || char === "'") quote = char;
    else if (char === '}') return at;
  }
  throw new UsageError(`jsonpath ${JSON.stringify(text)}: a "{" without its "}"`);
}

function parseParts(tokens: readonly Token[], position: { index: number }, inRange: boolean, template: string): Part[] {
  const parts: Part[] = [];
  while (position.index < tokens.length) {
    const token = tokens[position.index];
    position.index += 1;
    if (token === undefined) break;
    if (!token.braced) parts.push({ type: 'text', text: token.text });
    else if (token.text === 'end') {
      if (inRange) return parts;
      throw new UsageError(`jsonpath ${JSON.stringify(template)}: {end} without {range}`);
    } else if (/^range\b/.test(token.text)) {
      const find = parsePath(token.text.slice('range'.length).trim(), template);
      parts.push({ type: 'range', find, body: parseParts(tokens, position, true, template) });
    } else if (/^(".*"|'.*')$/s.test(token.text)) parts.push({ type: 'text', text: unquote(token.text) });
    else if (token.text !== '') parts.push({ type: 'path', find: parsePath(token.text, template) });
  }
  if (inRange) throw new UsageError(`jsonpath ${JSON.stringify(template)}: {range} without {end}`);
  return parts;
}

function writeParts(parts: readonly Part[], value: Value, root: Value): string {
  return parts
    .map((part) => {
      if (part.type === 'text') return part.text;
      const found = part.find(value, root);
      if (part.type === 'path') return found.map(foundText).join(' ');
      return found.map((item) => writeParts(part.body, item, root)).join('');
    })
    .join('');
}

const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '\\': '\\', '"': '"', "'": "'" };

function unquote(text: string): string {
  return text.slice(1, -1).replace(/\\(.)/g, (whole, char: string) => escapes[char] ?? whole);
}

function parsePath(path: string, template: string): (value: Value, root: Value) => Value[] {
  const wrong = (at: number): UsageError =>
    new UsageError(`jsonpath ${JSON.stringify(template)}: not understood at "${path.slice(at, at + 20)}"`);
  let at = 0;
  const fromRoot = path.startsWith('$');
  if (fromRoot || path.startsWith('@')) at = 1;
  const steps: Step[] = [];
  while (at < path.length) {
    const rest = path.slice(at);
    const recursive = /^\.\.(?=[^.[]|\[|$)/.exec(rest);
    if (recursive !== null) {
      steps.push((values) => values.flatMap((value) => descendants(value, 0)));
      at += 2;
      if (path.charAt(at) === '[') continue;
      const name = /^((?:\\.|[^.[\]\\\s])+)/.exec(path.slice(at));
      if (name?.[1] === undefined) throw wrong(at);
      steps.push(name[1] === '*' ? wildcard : field(unescape(name[1])));
      at += name[0].length;
      continue;
    }
    const name = /^\.((?:\\.|[^.[\]\\\s])+)/.exec(rest);
    if (name?.[1] !== undefined) {
      steps.push(name[1] === '*' ? wildcard : field(unescape(name[1])));
      at += name[0].length;
    } else if (/^\.?\[/.test(rest)) {
      const open = at + rest.indexOf('[');
      const close = closingBracket(path, open);
      if (close < 0) throw wrong(at);
      const step = bracket(path.slice(open + 1, close).trim(), template);
      if (step === undefined) throw wrong(at);
      steps.push(step);
      at = close + 1;
    } else if (rest === '.') at += 1;
    else throw wrong(at);
  }
  return (value, root) => steps.reduce<Value[]>((values, step) => step(values), [fromRoot ? root : value]);
}

function unescape(name: string): string {
  return name.replace(/\\(.)/g, '$1');
}

function closingBracket(path: string, open: number): number {
  let depth = 0;
  let quote = '';
  for (let at = open; at < path.length; at += 1) {
    const char = path.charAt(at);
    if (quote !== '') {
      if (char === '\\') at += 1;
      else if (char === quote) quote = '';
    } else if (char === '"' || char === "'") quote = char;
    else if (char === '[') depth += 1;
    else if (char === ']') {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return -1;
}

const wildcard: Step = (values) => values.flatMap(children);

function children(value: Value): Value[] {
  if (Array.isArray(value)) return value as Value[];
  return typeof value === 'object' && value !== null ? Object.values(value) : [];
}

function descendants(value: Value, depth: number): Value[] {
  if (depth > maxDepth || typeof value !== 'object' || value === null) return [];
  return [value, ...children(value).flatMap((child) => descendants(child, depth + 1))];
}

function field(name: string): Step {
  return (values) =>
    values.flatMap((value) => {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return [];
      return Array.isArray(value) ? [] : [(value as Readonly<Record<string, Value>>)[name]];
    });
}

function bracket(inside: string, template: string): Step | undefined {
  if (inside === '*') return wildcard;
  if (inside.startsWith('?')) return filter(inside, template);
  const slice = /^(-?\d*):(-?\d*)(?::(-?\d+))?$/.exec(inside);
  if (slice !== null) return sliceStep(slice[1] ?? '', slice[2] ?? '', slice[3] ?? '1');
  const steps = splitUnion(inside).map((item): Step | undefined => {
    if (/^-?\d+$/.test(item)) return index(Number(item));
    if (/^(".*"|'.*')$/s.test(item)) return field(unquote(item));
    return undefined;
  });
  if (steps.length === 0 || steps.includes(undefined)) return undefined;
  return (values) => values.flatMap((value) => steps.flatMap((step) => step?.([value]) ?? []));
}

function splitUnion(text: string): string[] {
  return [...text.matchAll(/\s*("(?:\\.|[^"])*"|'(?:\\.|[^'])*'|[^,]+?)\s*(?:,|$)/g)].map((match) => match[1] ?? '');
}

function index(number: number): Step {
  return (values) =>
    values.flatMap((value) => (Array.isArray(value) ? (value as Value[]).slice(number).slice(0, 1) : []));
}

function sliceStep(from: string, to: string, stride: string): Step {
  const every = Math.max(1, Number(stride));
  return (values) =>
    values.flatMap((value) => {
      if (!Array.isArray(value)) return [];
      const part = (value as Value[]).slice(from === '' ? 0 : Number(from), to === '' ? undefined : Number(to));
      return part.filter((_, at) => at % every === 0);
    });
}

const comparison = /^(.+?)\s*(==|!=|<=|>=|<|>)\s*(.+)$/s;

function filter(inside: string, template: string): Step | undefined {
  const expression = /^\?\s*\((.*)\)$/s.exec(inside)?.[1]?.trim();
  if (expression === undefined) return undefined;
  const parts = comparison.exec(expression);
  if (parts === null) {
    const find = parsePath(expression, template);
    return (values) => values.flatMap(children).filter((item) => find(item, item).length > 0);
  }
  const left = operand(parts[1] ?? '', template);
  const right = operand((parts[3] ?? '').trim(), template);
  const operator = parts[2] ?? '';
  return (values) => values.flatMap(children).filter((item) => compare(left(item), right(item), operator));
}

function operand(text: string, template: string): (item: Value) => Value {
  if (/^(".*"|'.*')$/s.test(text)) {
    const literal = unquote(text);
    return () => literal;
  }
  if (/^-?\d+(\.\d+)?$/.test(text)) return () => Number(text);
  if (text === 'true' || text === 'false') return () => text === 'true';
  const find = parsePath(text, template);
  return (item) => find(item, item)[0];
}

function compare(left: Value, right: Value, operator: string): boolean {
  if (left === undefined) return operator === '!=' && right !== undefined;
  if (operator === '==' || operator === '!=') {
    return (foundText(left) === foundText(right)) === (operator === '==');
  }
  const [a, b] =
    typeof left === 'number' && typeof right === 'number' ? [left, right] : [foundText(left), foundText(right)];
  if (operator === '<') return a < b;
  if (operator === '>') return a > b;
  return operator === '<=' ? a <= b : a >= b;
}
