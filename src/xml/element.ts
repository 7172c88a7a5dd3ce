import { readXml, xmlnsUri, type XmlOptions } from './reader.ts';

/** An element: names as `{uri}local`, or the plain name without a namespace. */
export interface XmlElement {
  readonly name: string;
  /** By name; without namespace declarations. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** All text directly inside, in order, joined. */
  readonly text: string;
}

interface Building extends XmlElement {
  readonly attributes: Map<string, string>;
  readonly children: Building[];
  text: string;
}

/**
 * Reads a document into a tree.
 * @throws InvalidInputError as {@link readXml} does.
 */
export function parseElement(text: string, options: XmlOptions = {}): XmlElement {
  const top: Building = { name: '', attributes: new Map(), children: [], text: '' };
  const open = [top];
  readXml(
    text,
    {
      open(tag) {
        const attributes = new Map<string, string>();
        tag.attributeNames.slice(0, tag.attributeCount).forEach((name, index) => {
          const { uri, local } = tag.attributeNamespaces?.[index] ?? { uri: '', local: name };
          if (uri !== xmlnsUri) attributes.set(named(uri, local), tag.attributeValues[index] ?? '');
        });
        const element: Building = { name: named(tag.uri, tag.local), attributes, children: [], text: '' };
        open.at(-1)?.children.push(element);
        open.push(element);
      },
      text(data) {
        const element = open.at(-1);
        if (element !== undefined) element.text += data;
      },
      close() {
        open.pop();
      },
    },
    options,
  );
  return options.fragment === true ? top : (top.children[0] ?? top);
}

function named(uri: string, local: string): string {
  return uri === '' ? local : `{${uri}}${local}`;
}
