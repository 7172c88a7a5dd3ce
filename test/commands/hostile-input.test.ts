import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VirtctlError } from '../../src/base/errors.ts';
import type { Difference } from '../../src/cli/convert/check-document.ts';
import { checkDocument } from '../../src/cli/convert/check-document.ts';
import { convertDocument } from '../../src/cli/convert/convert-document.ts';
import { decodeText } from '../../src/cli/input/decode-text.ts';
import { readDocuments } from '../../src/cli/input/read-documents.ts';
import { validateInput } from '../../src/cli/validate-input.ts';

const examples = ['xml', 'yaml', 'json'].map((format) =>
  readFileSync(resolve(import.meta.dirname, `../../docs/examples/web.${format}`), 'utf8'),
);

/**
 * Everything that is done with a text; gives the differences after there and back. One is as it should be: a domain
 * without the name or the type that libvirt requires gets them when it comes out of an object.
 */
function everything(bytes: Uint8Array): Difference[] {
  const differences: Difference[] = [];
  try {
    for (const document of readDocuments('a', decodeText('a', bytes))) {
      if (document instanceof VirtctlError) continue;
      for (const work of [
        () => convertDocument(document, { format: undefined, bare: false, kind: undefined }),
        () => validateInput(document),
        () => differences.push(...checkDocument(document, false, undefined)),
      ]) {
        try {
          work();
        } catch (error) {
          if (!(error instanceof VirtctlError)) throw error;
          expect(error.message).toMatch(/^a:\d+:\d+: /);
        }
      }
    }
  } catch (error) {
    if (!(error instanceof VirtctlError)) throw error;
  }
  return differences.filter(
    ({ path, message }) => !(message === 'was added' && ['/domain/name', '/domain/@type'].includes(path)),
  );
}

const piece = fc.constantFrom(
  ...[
    '<',
    '>',
    '&',
    '"',
    "'",
    '\n',
    '  ',
    '- ',
    ': ',
    '{',
    '}',
    '[',
    ']',
    '*a',
    '&a ',
    '!!int ',
    '<<: ',
    '#',
    '|',
    '\t',
  ],
  ...[
    '\0',
    'é',
    ']]>',
    '<!--',
    '<![CDATA[',
    '<!DOCTYPE x>',
    'xmlns:a="b"',
    'a:',
    '---\n',
    '0777',
    'on',
    '~',
    '<?xml?>',
  ],
  ...['99999999999999999999', '1e400', '__proto__: ', 'constructor: ', 'overlay: '],
);

describe('hostile input', () => {
  it('that is arbitrary bytes never crashes nor hangs', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(everything(bytes)).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('that is a damaged document is an error with its place, or goes there and back unchanged', () => {
    const damage = fc.array(
      fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), cut: fc.nat(20), put: piece }),
      {
        minLength: 1,
        maxLength: 4,
      },
    );
    fc.assert(
      fc.property(fc.constantFrom(...examples), damage, (example, changes) => {
        let text = example;
        for (const { at, cut, put } of changes) {
          const from = Math.floor(at * text.length);
          text = text.slice(0, from) + put + text.slice(from + cut);
        }
        expect(everything(Buffer.from(text))).toEqual([]);
      }),
      { numRuns: 1500 },
    );
  });
});
