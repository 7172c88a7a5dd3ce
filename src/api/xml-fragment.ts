/** Whether raw XML (an entry of an overlay) is well-formed, without a parser: this folder may import none. */

const name = '[A-Za-z_:][\\w:.\\-\\u00B7-\\uFFFD]*';
const startTag = new RegExp(`^<(${name})((?:\\s+${name}\\s*=\\s*(?:"[^"<]*"|'[^'<]*'))*)\\s*(/?)>`, 'u');
const endTag = new RegExp(`^</(${name})\\s*>`, 'u');
const attribute = new RegExp(`(${name})\\s*=\\s*("[^"]*"|'[^']*')`, 'gu');
const reference = /&(?!(?:lt|gt|amp|quot|apos|#[0-9]+|#x[0-9a-fA-F]+);)/;

/** Deeper XML is refused. */
const maxDepth = 128;

/**
 * Checks a fragment: elements, text, comments and CDATA, balanced and with quoted, unique attributes; no document type.
 *
 * @returns What is wrong, or undefined.
 */
export function xmlFragmentProblem(xml: string): string | undefined {
  const open: string[] = [];
  let at = 0;
  while (at < xml.length) {
    const next = xml.indexOf('<', at);
    const text = next < 0 ? xml.slice(at) : xml.slice(at, next);
    if (text.includes(']]>')) return '"]]>" must be written "]]&gt;" in text';
    if (reference.test(text)) return 'an "&" that begins no known reference must be written "&amp;"';
    if (next < 0) break;
    const rest = xml.slice(next);
    if (rest.startsWith('<!--')) {
      const end = rest.indexOf('-->', 4);
      if (end < 0) return 'a comment does not end';
      if (rest.slice(4, end).includes('--')) return '"--" inside a comment';
      at = next + end + 3;
    } else if (rest.startsWith('<![CDATA[')) {
      const end = rest.indexOf(']]>');
      if (end < 0) return 'a CDATA section does not end';
      at = next + end + 3;
    } else if (rest.startsWith('<!') || rest.startsWith('<?')) {
      return 'a document type or processing instruction is refused';
    } else if (rest.startsWith('</')) {
      const match = endTag.exec(rest);
      const expected = open.pop();
      if (match?.[1] === undefined || expected === undefined) return 'an end tag without its start tag';
      if (match[1] !== expected) return `</${match[1]}> where </${expected}> is expected`;
      at = next + match[0].length;
    } else {
      const match = startTag.exec(rest);
      if (match?.[1] === undefined) return `not a start tag: ${rest.slice(0, 30)}`;
      const problem = attributesProblem(match[2] ?? '');
      if (problem !== undefined) return problem;
      if (match[3] === '') open.push(match[1]);
      if (open.length > maxDepth) return `nested deeper than ${maxDepth} levels`;
      at = next + match[0].length;
    }
  }
  const unclosed = open.pop();
  return unclosed === undefined ? undefined : `<${unclosed}> has no end tag`;
}

/** True for what XML takes as the name of an attribute. */
export function isXmlName(text: string): boolean {
  return new RegExp(`^${name}$`, 'u').test(text);
}

function attributesProblem(text: string): string | undefined {
  const seen = new Set<string>();
  for (const [, key = '', value = ''] of text.matchAll(attribute)) {
    if (seen.has(key)) return `the attribute ${key} is there twice`;
    seen.add(key);
    if (reference.test(value)) return 'an "&" that begins no known reference must be written "&amp;"';
  }
  return undefined;
}
