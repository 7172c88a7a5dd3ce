import { SaxesParser } from 'saxes';
import { maxReportedBytes, maxXmlDepth } from './reader.ts';

/** What a piece of raw XML has at its top level. */
export interface Fragment {
  /** There is text, not only elements. */
  readonly hasText: boolean;
}

/**
 * Looks at a piece of raw XML that is to stand inside an element. Prefixes may be declared around it.
 * @returns what it holds, or why it is not well-formed
 */
export function readFragment(xml: string): Fragment | string {
  if (xml.length > maxReportedBytes) return `more than ${maxReportedBytes} bytes`;
  // The element around it makes a stray end tag an error.
  const parser = new SaxesParser({ xmlns: false, position: false });
  let depth = 0;
  let hasText = false;
  let problem: string | undefined;
  parser.on('error', (error) => (problem ??= error.message));
  parser.on('doctype', () => (problem ??= 'a document type declaration (DTD) is refused'));
  parser.on('opentag', () => {
    depth += 1;
    if (depth > maxXmlDepth) problem ??= `elements are nested deeper than ${maxXmlDepth} levels`;
  });
  parser.on('closetag', () => {
    depth -= 1;
    if (depth === 0 && parser.position < xml.length + 3) problem ??= 'an end tag without its start tag';
  });
  const onText = (text: string): void => {
    hasText ||= depth === 1 && /[^ \t\r\n]/.test(text);
  };
  parser.on('text', onText);
  parser.on('cdata', onText);
  parser.write(`<x>${xml}</x>`).close();
  return problem ?? { hasText };
}
