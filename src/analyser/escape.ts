const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\r': '&#13;',
};

/** A text as XML content. */
export function escapeText(text: string): string {
  return text.replaceAll(/[&<>\r]/g, (char) => entities[char] ?? char);
}

/** A text as an attribute's value in double quotation marks; white space survives as character references. */
export function escapeAttribute(text: string): string {
  return text.replaceAll(/[&<>"\t\n\r]/g, (char) => entities[char] ?? `&#${char.charCodeAt(0)};`);
}
