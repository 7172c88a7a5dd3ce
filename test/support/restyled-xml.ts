/** The same document as somebody else would write it: other prefixes, quotes, references, CDATA, comments, layout, order. */
import { parseElement, type XmlElement } from '../../src/xml/element.ts';

/** A whole number from 0 to `below` - 1. */
export type Draw = (below: number) => number;

const xmlUri = 'http://www.w3.org/XML/1998/namespace';
const prefixes = ['q', 'qemu', 'lxc', 'ns0', 'a.b', '_x', 'é', 'bhyve'];

/**
 * What YAML, JSON or XML may take for something else. Texts of a document that are one of `plain` become one of these, each
 * time another.
 */
const oddTexts: readonly string[] = [
  ...['on', 'off', 'yes', 'no', 'y', 'N', 'null', '~', 'true', 'FALSE', '0x1f', '0o17', '012', '1e3', '1_000', '.inf'],
  ...['.NaN', '2001-01-01', '12:30:45', '=', '<<', '- a', '# c', 'a # c', 'a: b', 'a:', '? x', '| x', '> x', '%x'],
  ...[
    '@x',
    '`x',
    '!x',
    '&x',
    '*x',
    '{}',
    '[]',
    ' lead',
    'trail ',
    '\ttab',
    'one\ntwo',
    'one\n  two\n',
    '\n\nx',
    'x\n\n',
  ],
  ...['😀é', '\u0085', 'a\u2028b', '\uFEFFx', '\uFFFD', 'a]]>b', '"', "'", '\\', '\\n', '$&', '{{x}}', 'a\rb', '---'],
  ...['...', '--- x', '-1', '+1', '1.', '-.5', '0b1', '\u00a0', '__proto__', 'é'.repeat(300), '-', '&amp;', '&#10;'],
];

/** Rewrites a document; see the head of this file. */
export function restyledXml(text: string, plain: ReadonlySet<string>, draw: Draw): string {
  const pick = (from: readonly string[]): string => from[draw(from.length)] ?? '';
  const odd = (value: string): string => (plain.has(value) ? pick(oddTexts) : value);
  const gap = (): string => pick([' ', '\n', '\t ', '  ']);
  const maybeGap = (): string => pick(['', '', ' ', '\n']);
  const noise = (): string => pick(['<!-- c -->', '<!--<a>&amp;-->', '<!-- - -->', ...new Array<string>(10).fill('')]);

  const character = (char: string, mustHide: string): string => {
    const code = char.codePointAt(0) ?? 0;
    if (!mustHide.includes(char) && draw(8) > 0) return char;
    return draw(2) === 0 ? `&#${code};` : `&#x${code.toString(16)};`;
  };
  const quoted = (value: string): string => {
    const quote = pick(['"', "'"]);
    return `${quote}${Array.from(value, (char) => character(char, `<&\t\n\r${quote}`)).join('')}${quote}`;
  };
  const content = (value: string): string => {
    if (draw(4) === 0 && !value.includes('\r')) return `<![CDATA[${value.replaceAll(']]>', ']]]]><![CDATA[>')}]]>`;
    return Array.from(value, (char) => character(char, '<&\r>')).join('');
  };

  const write = (element: XmlElement, outer: ReadonlyMap<string, string>): string => {
    const scope = new Map(outer);
    let declarations = '';
    const named = (name: string): string => {
      const [, uri, local] = /^\{(.*)\}(.*)$/s.exec(name) ?? [];
      if (uri === undefined || local === undefined) return name;
      if (uri === xmlUri) return `xml:${local}`;
      const known = [...scope].find(([, declared]) => declared === uri)?.[0];
      if (known !== undefined) return `${known}:${local}`;
      let prefix = pick(prefixes);
      while (scope.has(prefix)) prefix += '1';
      scope.set(prefix, uri);
      declarations += `${gap()}xmlns:${prefix}=${quoted(uri)}`;
      return `${prefix}:${local}`;
    };
    const name = named(element.name);
    const attributes = [...element.attributes].map(
      ([key, value]) => `${gap()}${named(key)}${maybeGap()}=${maybeGap()}${quoted(odd(value))}`,
    );
    if (draw(2) === 0) attributes.reverse();
    const own = Array.from(odd(element.text));
    const start = `<${name}${declarations}${attributes.join('')}${maybeGap()}`;
    if (own.length === 0 && element.children.length === 0 && draw(2) === 0) return `${start}/>`;
    const cut = draw(own.length + 1);
    const layout = (): string =>
      own.length === 0 && element.children.length > 0 ? pick(['', '\n  ', '\r\n\t', ' ']) : '';
    const parts = [own.slice(0, cut), own.slice(cut)]
      .filter((part) => part.length > 0)
      .map((part) => content(part.join('')));
    const children = element.children.map((child) => layout() + noise() + write(child, scope));
    const inside = [...parts.map((part) => noise() + part), ...children].join('') + layout() + noise();
    return `${start}>${inside}</${name}${maybeGap()}>`;
  };

  const head = pick([
    '',
    '<?xml version="1.0"?>\n',
    "<?xml version='1.0' encoding='UTF-8' standalone='yes'?>",
    '<!-- x -->\n',
  ]);
  return head + write(parseElement(text), new Map()) + pick(['', '\n', '<!-- e -->']);
}
