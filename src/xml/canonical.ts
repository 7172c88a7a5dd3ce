/**
 * When two XML documents say the same (design section 3): equal after removing comments and insignificant white space
 * and grouping differently named siblings. Prefixes, attribute order, CDATA and entities make no difference either.
 */
import type { XmlElement } from './element.ts';

/** A place where two documents differ. */
export interface XmlDifference {
  /** As in `/domain/devices/disk[2]/@type`. */
  readonly path: string;
  readonly message: string;
}

/** A text that is the same for two elements exactly when they say the same. */
export function canonicalXml(element: XmlElement): string {
  const attributes = [...element.attributes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => ` ${name}=${JSON.stringify(value)}`);
  const children = [...groups(element)].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, group]) => group);
  const text = significant(element.text);
  const inside = (text === '' ? '' : JSON.stringify(text)) + children.map(canonicalXml).join('');
  return `<${element.name}${attributes.join('')}>${inside}</>`;
}

/** Every difference between two elements of the same place, by path. Bounded at 1000. */
export function xmlDifferences(before: XmlElement, after: XmlElement): XmlDifference[] {
  const found: XmlDifference[] = [];
  if (before.name !== after.name) return [{ path: '/', message: `<${before.name}> became <${after.name}>` }];
  compare(before, after, `/${before.name}`, found);
  return found.slice(0, 1000);
}

function compare(before: XmlElement, after: XmlElement, path: string, found: XmlDifference[]): void {
  if (found.length >= 1000) return;
  for (const name of new Set([...before.attributes.keys(), ...after.attributes.keys()])) {
    note(`${path}/@${name}`, before.attributes.get(name), after.attributes.get(name), found);
  }
  note(path, significant(before.text), significant(after.text), found);
  const afterGroups = groups(after);
  const beforeGroups = groups(before);
  for (const name of new Set([...beforeGroups.keys(), ...afterGroups.keys()])) {
    const left = beforeGroups.get(name) ?? [];
    const right = afterGroups.get(name) ?? [];
    for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
      const childPath = `${path}/${name}${left.length > 1 || right.length > 1 ? `[${index + 1}]` : ''}`;
      const [one, other] = [left[index], right[index]];
      if (one !== undefined && other !== undefined) compare(one, other, childPath, found);
      else found.push({ path: childPath, message: one === undefined ? 'was added' : 'is missing' });
    }
  }
}

function note(path: string, before: string | undefined, after: string | undefined, found: XmlDifference[]): void {
  if (before === after) return;
  if (before === undefined) found.push({ path, message: 'was added' });
  else if (after === undefined) found.push({ path, message: 'is missing' });
  else found.push({ path, message: `${JSON.stringify(before)} became ${JSON.stringify(after)}` });
}

function groups(element: XmlElement): Map<string, XmlElement[]> {
  const byName = new Map<string, XmlElement[]>();
  for (const child of element.children) {
    const group = byName.get(child.name);
    if (group === undefined) byName.set(child.name, [child]);
    else group.push(child);
  }
  return byName;
}

/** White space alone only lays a document out. */
function significant(text: string): string {
  return /[^ \t\r\n]/.test(text) ? text : '';
}
