import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyser/analyse.ts';
import { toEnvelope } from '../../src/analyser/envelope.ts';
import { InvalidInputError } from '../../src/base/errors.ts';
import { fromEnvelope } from '../../src/convertor/envelope.ts';
import { render } from '../../src/convertor/render.ts';
import { documentKinds } from '../../src/model/document-kind.ts';
import { validateDocument } from '../../src/model/validate.ts';
import { canonicalXml, xmlDifferences } from '../../src/xml/canonical.ts';
import { parseElement } from '../../src/xml/element.ts';
import { arbitraryDocument } from '../support/arbitrary-document.ts';
import { corpusDocuments, invalidDocuments, ownDocuments } from '../support/libvirt-documents.ts';
import { schemaErrors, schemaFolder, schemas113 } from '../support/libvirt-schemas.ts';

const documents = [...ownDocuments, ...corpusDocuments];

/** XML → value → JSON → value → XML, through the object of ours where there is one. */
function thereAndBack(text: string, pretty = true): string {
  const analysed = analyse(text);
  const envelope = toEnvelope(analysed);
  const { kind, value, overlay } = envelope === undefined ? analysed : fromEnvelope(envelope);
  const copy = JSON.parse(JSON.stringify({ value, overlay })) as { value: object; overlay: typeof overlay };
  return render(kind, copy.value, copy.overlay, { pretty });
}

function expectSame(before: string, after: string): void {
  const [one, other] = [parseElement(before), parseElement(after)];
  expect(xmlDifferences(one, other)).toEqual([]);
  expect(canonicalXml(other)).toBe(canonicalXml(one));
}

describe('a valid document of libvirt', () => {
  it('has something of every kind to test with', () => {
    const kinds = ownDocuments.map(({ text }) => analyse(text).kind);
    expect(documentKinds.filter((kind) => !kinds.includes(kind))).toEqual([]);
  });

  it.each(documents)('says the same after XML, YAML, XML: $name', ({ text }) => {
    expectSame(text, thereAndBack(text));
    expectSame(text, thereAndBack(text, false));
  });

  it.each(documents)('gives a value that the validator accepts: $name', ({ text }) => {
    const { kind, value } = analyse(text);
    expect(validateDocument(kind, value)).toEqual([]);
  });

  it.each(documents)('has nothing in it to report: $name', ({ text }) => {
    expect(analyse(text).problems).toEqual([]);
  });

  it
    .skipIf(schemaFolder === undefined)
    .each([
      '<network><name>a</name><mtu size=" 0900"/></network>',
      '<network><name>a</name><dns enable=" yes\n"/></network>',
      '<network><name>a</name><bridge name="b" stp=" on" delay="00 "/></network>',
      '<network><name>a</name><vlan><tag id="+1"/></vlan></network>',
      '<network><name>a</name><vlan><tag id="-0"/></vlan></network>',
    ])('is one too in another spelling: %s', (text) => {
    expect(schemaErrors('network', text)).toEqual([]);
    expect(analyse(text)).toMatchObject({ problems: [], overlay: [expect.anything()] });
    expectSame(text, thereAndBack(text));
  });

  it.each([
    'xmlns:q="http://libvirt.org/schemas/domain/qemu/1.0" xmlns:qemu="urn:x" qemu:z="1"',
    'xmlns:q="http://libvirt.org/schemas/domain/qemu/1.0" xmlns:qemu="urn:x" xmlns:qemu1="urn:y" qemu:z="1" qemu1:z="2"',
  ])('may mean something else by libvirt’s prefixes: %s', (attributes) => {
    const text = `<domain type="kvm"><name>a</name><q:commandline ${attributes}><q:arg value="-s"/></q:commandline></domain>`;
    expectSame(text, thereAndBack(text));
  });

  it.skipIf(schemaFolder === undefined).each(documents)('satisfies libvirt’s schema again: $name', ({ text }) => {
    const { kind } = analyse(text);
    // An older schema than the tables' refuses some of what is new; what it takes it has to take again.
    if (schemas113 !== undefined) expect(schemaErrors(kind, text)).toEqual([]);
    expect(schemaErrors(kind, thereAndBack(text))).toEqual(schemaErrors(kind, text));
  });
});

describe('a document that libvirt’s schema refuses', () => {
  it.skipIf(invalidDocuments.length === 0).each(invalidDocuments)('is an error or kept whole: $name', ({ text }) => {
    expectSame(text, thereAndBack(text));
  });
});

describe('a generated document', () => {
  it.each(documentKinds)('comes back as the same value: %s', (kind) => {
    fc.assert(
      fc.property(arbitraryDocument(kind), fc.boolean(), (value, pretty) => {
        expect(validateDocument(kind, value)).toEqual([]);
        const analysed = analyse(render(kind, value, [], { pretty }));
        expect(analysed.value).toEqual(value);
        expect(analysed.overlay).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  it.each(documentKinds)('is written as the same XML again: %s', (kind) => {
    fc.assert(
      fc.property(arbitraryDocument(kind), (value) => {
        const xml = render(kind, value);
        const { value: again, overlay } = analyse(xml);
        expect(render(kind, again, overlay)).toBe(xml);
      }),
      { numRuns: 20 },
    );
  });
});

/** Pieces that may turn up anywhere in somebody's file. */
const strange = [
  '<x/>',
  'text',
  '<!-- c -->',
  '<?pi d?>',
  '<![CDATA[<&]]>',
  '&amp;lt;',
  '&#13;',
  '\r\n',
  '<name>again</name>',
  '<disk/>',
  '<p:q xmlns:p="urn:p"><p:r a="1"/></p:q>',
  '<q xmlns="http://libvirt.org/schemas/domain/qemu/1.0"/>',
  '<memory>007</memory>',
  '<vcpu> 4 </vcpu>',
  '<metadata><a:b xmlns:a="x"/>t<c/></metadata>',
  '<y:commandline xmlns:y="http://libvirt.org/schemas/domain/qemu/1.0" xmlns:qemu="urn:other"><y:arg value="1"/><qemu:arg/></y:commandline>',
  '<description>  </description>',
];
const strangeAttributes = [
  ' a="b"',
  ' type="&#9;x"',
  ' xmlns:z="urn:z" z:a="1"',
  ' xml:space="preserve"',
  ' value="\n\t"',
];

/** A document with a few pieces inserted after tags and a few characters lost. */
function mutated(): fc.Arbitrary<string> {
  const change = fc.record({
    what: fc.constantFrom('insert', 'attribute', 'lose', 'replace'),
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    piece: fc.constantFrom(...strange),
    attribute: fc.constantFrom(...strangeAttributes),
    char: fc.string({ minLength: 1, maxLength: 1, unit: 'binary' }),
  });
  return fc
    .record({ document: fc.constantFrom(...documents), changes: fc.array(change, { minLength: 1, maxLength: 4 }) })
    .map(({ document, changes }) =>
      changes.reduce((text, { what, at, piece, attribute, char }) => {
        if (what === 'lose' || what === 'replace') {
          const place = Math.floor(at * text.length);
          return text.slice(0, place) + (what === 'lose' ? '' : char) + text.slice(place + 3 * Number(what === 'lose'));
        }
        const tags = [...text.matchAll(/<[^<>?!]+>/g)];
        const tag = tags[Math.floor(at * tags.length)];
        if (tag === undefined) return text;
        const end = tag.index + tag[0].length;
        if (what === 'insert' || tag[0].startsWith('</')) return text.slice(0, end) + piece + text.slice(end);
        const inside = end - (tag[0].endsWith('/>') ? 2 : 1);
        return text.slice(0, inside) + attribute + text.slice(inside);
      }, document.text),
    );
}

describe('a document that is not as libvirt’s schema wants it', () => {
  it('is refused as a whole or kept as a whole', () => {
    fc.assert(
      fc.property(mutated(), (text) => {
        let before;
        try {
          before = parseElement(text);
          analyse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidInputError);
          return;
        }
        const { kind, value } = analyse(text, { positions: true });
        expect(validateDocument(kind, value)).toEqual([]);
        for (const pretty of [true, false]) {
          expect(xmlDifferences(before, parseElement(thereAndBack(text, pretty)))).toEqual([]);
        }
      }),
      { numRuns: 1500 },
    );
  });

  it('never crashes the analyser, whatever the bytes', () => {
    const anything = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc
        .array(fc.constantFrom('<', '>', '/', 'domain', ' ', '=', '"', '&', ';', '!', '[', ']', '-', '?', 'x', ':'), {
          maxLength: 60,
        })
        .map((parts) => `<domain>${parts.join('')}`),
    );
    fc.assert(
      fc.property(anything, (text) => {
        try {
          analyse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidInputError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
