import fc from 'fast-check';
import { XmlDocument, XmlElement, XmlText } from 'libxml2-wasm';
import { describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyser/analyse.ts';
import { convertDocument } from '../../src/cli/convert/convert-document.ts';
import { readDocuments, type InputDocument } from '../../src/cli/input/read-documents.ts';
import { render } from '../../src/convertor/render.ts';
import { documentKinds } from '../../src/model/document-kind.ts';
import { validateDocument } from '../../src/model/validate.ts';
import { xmlDifferences } from '../../src/xml/canonical.ts';
import { parseElement } from '../../src/xml/element.ts';
import { restyledXml } from '../support/restyled-xml.ts';
import { schemaErrors, schemas113 } from '../support/libvirt-schemas.ts';
import { schemaDocument } from '../support/schema-document.ts';

describe.skipIf(schemas113 === undefined)('a document made from libvirt’s schema', () => {
  it.each(documentKinds)('says the same and is valid again, without an overlay: %s', (kind) => {
    let valid = 0;
    fc.assert(
      fc.property(schemaDocument(schemas113 ?? '', kind), (text) => {
        fc.pre(text !== '' && text.length < 60_000);
        const { value, overlay } = analyse(text);
        const xml = render(kind, value, overlay);
        expect(xmlDifferences(parseElement(text), parseElement(xml))).toEqual([]);
        expect(validateDocument(kind, value)).toEqual([]);
        if (schemaErrors(kind, text).length > 0) return;
        valid += 1;
        expect(overlay).toEqual([]);
        expect(schemaErrors(kind, xml)).toEqual([]);
      }),
      { numRuns: 150 },
    );
    expect(valid).toBeGreaterThan(0);
  });

  it.each(documentKinds)('says the same to libxml2 through YAML, however it is written: %s', (kind) => {
    const plain = new Set(['x y', 'a&b<c>', 'é"\'', ' z ']);
    fc.assert(
      fc.property(schemaDocument(schemas113 ?? '', kind), fc.gen(), (text, next) => {
        fc.pre(text !== '' && text.length < 60_000);
        const restyled = restyledXml(text, plain, (below) => next(fc.nat, { max: below - 1 }));
        fc.pre(Buffer.byteLength(restyled) < 120_000);
        const yaml = convertDocument(only('a.xml', restyled), { format: 'yaml', bare: false, kind: undefined }).text;
        const back = convertDocument(only('b.yaml', yaml), { format: 'xml', bare: false, kind }).text;
        expect(meaning(back)).toBe(meaning(restyled));
      }),
      { numRuns: 40 },
    );
  });
});

function only(name: string, text: string): InputDocument {
  const [document] = [...readDocuments(name, text)];
  if (document === undefined || document instanceof Error) throw document ?? new Error('there is no document');
  return document;
}

/** What libxml2 finds in a document, by design section 3: siblings grouped by name, layout left out. */
function meaning(xml: string): string {
  const parsed = XmlDocument.fromString(xml);
  // Comments are gone from canonical XML, and CDATA and references are text.
  const document = XmlDocument.fromString(parsed.canonicalizeToString({ withComments: false }));
  parsed.dispose();
  try {
    return JSON.stringify(elementMeaning(document.root));
  } finally {
    document.dispose();
  }
}

function elementMeaning(element: XmlElement): readonly unknown[] {
  const children: (readonly unknown[])[] = [];
  let text = '';
  for (let node = element.firstChild; node !== null; node = node.next) {
    if (node instanceof XmlElement) children.push(elementMeaning(node));
    else if (node instanceof XmlText) text += node.content;
  }
  const attributes = element.attrs.map(({ namespaceUri, name, value }) => [namespaceUri, name, value].join(' ')).sort();
  const grouped = children
    .map((child, index) => ({ child, key: String(child[0]), index }))
    .sort((a, b) => (a.key === b.key ? a.index - b.index : a.key < b.key ? -1 : 1))
    .map(({ child }) => child);
  return [`${element.namespaceUri} ${element.name}`, attributes, /[^ \t\r\n]/.test(text) ? text : '', grouped];
}
