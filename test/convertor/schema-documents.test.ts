import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyser/analyse.ts';
import { render } from '../../src/convertor/render.ts';
import { documentKinds } from '../../src/model/document-kind.ts';
import { validateDocument } from '../../src/model/validate.ts';
import { xmlDifferences } from '../../src/xml/canonical.ts';
import { parseElement } from '../../src/xml/element.ts';
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
});
