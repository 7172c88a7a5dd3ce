import type { XmlTag } from '../xml/reader.ts';
import { escapeAttribute } from './escape.ts';

/** A namespace declaration on an element that the tables know. */
export interface Declaration {
  /** Empty for the default namespace. */
  readonly prefix: string;
  readonly uri: string;
  /** Something that is kept as raw XML relies on it. */
  used: boolean;
}

/**
 * An element's XML with the namespace declarations that it takes from around it, so that it means the same elsewhere.
 * `tag` is its start tag; undefined for one that declares nothing itself.
 */
export function selfContained(xml: string, tag: XmlTag | undefined, inScope: readonly Declaration[]): string {
  const own = tag?.ns ?? {};
  const missing = inScope.filter(
    ({ prefix, uri }) => !Object.hasOwn(own, prefix) && (prefix === '' ? uri !== '' : xml.includes(`${prefix}:`)),
  );
  if (missing.length === 0) return xml;
  const declarations = missing.map(
    ({ prefix, uri }) => ` xmlns${prefix === '' ? '' : `:${prefix}`}="${escapeAttribute(uri)}"`,
  );
  const nameEnd = /^<[^\s/>]+/.exec(xml)?.[0].length ?? 0;
  return xml.slice(0, nameEnd) + declarations.join('') + xml.slice(nameEnd);
}
