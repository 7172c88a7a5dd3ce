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
 * `own` are the prefixes that its start tag declares itself.
 */
export function selfContained(xml: string, own: readonly string[], inScope: readonly Declaration[]): string {
  const missing = inScope.filter(
    ({ prefix, uri }) => !own.includes(prefix) && (prefix === '' ? uri !== '' : xml.includes(`${prefix}:`)),
  );
  if (missing.length === 0) return xml;
  const declarations = missing.map(
    ({ prefix, uri }) => ` xmlns${prefix === '' ? '' : `:${prefix}`}="${escapeAttribute(uri)}"`,
  );
  const nameEnd = /^<[^\s/>]+/.exec(xml)?.[0].length ?? 0;
  return xml.slice(0, nameEnd) + declarations.join('') + xml.slice(nameEnd);
}
