import { badRequest } from '../http/api-error.ts';

/** What a selector looks at. */
export type Values = Readonly<Record<string, string>>;
/** Whether an object's labels or fields are selected. */
export type Selector = (values: Values) => boolean;

/**
 * Parses a label selector: `a=b,c!=d,e in (f,g),!h`.
 *
 * @returns Undefined when it selects everything.
 * @throws ApiError 400.
 */
export function parseLabelSelector(text: string): Selector | undefined {
  const requirements: Selector[] = [];
  let rest = text.trim();
  while (rest !== '') {
    const [requirement, after] = parseRequirement(rest);
    requirements.push(requirement);
    rest = after.trim();
    if (rest === '') break;
    if (!rest.startsWith(',')) throw unparsable(`found '${firstWord(rest)}', expected: ',' or 'end of string'`);
    rest = rest.slice(1).trim();
    if (rest === '' || rest.startsWith(','))
      throw badRequest(`found '${rest.charAt(0)}', expected: identifier after ','`);
  }
  return requirements.length === 0 ? undefined : (values) => requirements.every((requirement) => requirement(values));
}

const unparsable = (why: string): Error => badRequest(`unable to parse requirement: ${why}`);
const firstWord = (text: string): string => /^[^\s,()=!<>]+/.exec(text)?.[0] ?? text.charAt(0);

function parseRequirement(text: string): [Selector, string] {
  const negated = /^!\s*([^\s,()=!<>]+)\s*/.exec(text);
  if (negated !== null) {
    const key = checkedKey(negated[1] ?? '');
    return [(values) => !Object.hasOwn(values, key), text.slice(negated[0].length)];
  }
  const start = /^([^\s,()=!<>]+)\s*/.exec(text);
  if (start === null) throw unparsable(`found '${text.charAt(0)}', expected: !, identifier, or 'end of string'`);
  const key = checkedKey(start[1] ?? '');
  const rest = text.slice(start[0].length);
  if (rest === '' || rest.startsWith(',')) return [(values) => Object.hasOwn(values, key), rest];
  const equality = /^(==|=|!=)\s*([^\s,()=!<>]*)/.exec(rest);
  if (equality !== null) {
    const value = checkedValue(key, equality[2] ?? '');
    const after = rest.slice(equality[0].length);
    if (equality[1] === '!=') return [(values) => values[key] !== value, after];
    return [(values) => values[key] === value, after];
  }
  const membership = /^(in|notin)\s*\(([^)]*)\)/.exec(rest);
  if (membership !== null) {
    const allowed = new Set((membership[2] ?? '').split(',').map((value) => checkedValue(key, value.trim())));
    const isIn: Selector = (values) => values[key] !== undefined && allowed.has(values[key]);
    const after = rest.slice(membership[0].length);
    return [membership[1] === 'in' ? isIn : (values) => !isIn(values), after];
  }
  const opened = /^(in|notin)\s+(\S+)/.exec(rest);
  if (opened !== null) throw unparsable(`found '${firstWord(opened[2] ?? '')}' expected: '('`);
  const comparison = /^([<>])\s*([-+]?\d+)(?=\s*(?:,|$))/.exec(rest);
  if (comparison !== null) {
    const limit = Number(comparison[2]);
    const above = comparison[1] === '>';
    const compare: Selector = (values) => {
      const number = /^[-+]?\d+$/.test(values[key] ?? '') ? Number(values[key]) : NaN;
      return above ? number > limit : number < limit;
    };
    return [compare, rest.slice(comparison[0].length)];
  }
  if (/^[<>]/.test(rest)) throw unparsable("for 'Gt', 'Lt' operators, the value must be an integer");
  throw unparsable(`found '${firstWord(rest)}', expected: '=', '!=', '==', 'in', notin'`);
}

function checkedKey(key: string): string {
  if (/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/.test(key)) return key;
  throw badRequest(`unable to parse requirement: invalid label key ${JSON.stringify(key)}`);
}

function checkedValue(key: string, value: string): string {
  if (/^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/.test(value) && value.length <= 63) return value;
  throw badRequest(
    `unable to parse requirement: invalid label value: ${JSON.stringify(value)}: at key: ${JSON.stringify(key)}`,
  );
}

/**
 * Parses a field selector: `metadata.name=a,type!=b`.
 *
 * @param supported The names that may be selected by.
 * @returns Undefined when it selects everything.
 * @throws ApiError 400.
 */
export function parseFieldSelector(text: string, supported: readonly string[]): Selector | undefined {
  if (text.trim() === '') return undefined;
  const terms = text.split(/(?<!\\),/).filter((term) => term !== '');
  const requirements = terms.map((term): Selector => {
    const match = /^([^=!]+)(!=|==|=)(.*)$/.exec(term);
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    const [, key = '', operator, raw = ''] = match;
    if (!supported.includes(key)) throw badRequest(`field label not supported: ${key}`);
    const plain = raw.replace(/\\[,=\\]/g, '');
    if (plain.includes('\\'))
      throw badRequest(`invalid field selector: invalid escape sequence in ${JSON.stringify(raw)}`);
    if (/[,=]/.test(plain))
      throw badRequest(`invalid field selector: unescaped character in value ${JSON.stringify(raw)}`);
    const value = raw.replace(/\\([,=\\])/g, '$1');
    return operator === '!=' ? (values) => (values[key] ?? '') !== value : (values) => (values[key] ?? '') === value;
  });
  return (values) => requirements.every((requirement) => requirement(values));
}
