import { create } from 'xmlbuilder2';

/** One element with attributes and text: what is put into a `<metadata>`. */
export interface SimpleElement {
  readonly name: string;
  /** Declared as the default namespace; none when left out. */
  readonly namespace?: string | undefined;
  readonly attributes: Readonly<Record<string, string>>;
  readonly text: string;
}

/** The XML of an element, on one line. */
export function elementXml({ name, namespace, attributes, text }: SimpleElement): string {
  const document = create();
  const element = namespace === undefined ? document.ele(name) : document.ele(namespace, name);
  element.att(attributes);
  if (text !== '') element.txt(text);
  return document.end({ headless: true });
}
