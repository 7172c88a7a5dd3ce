/** Arbitrary values of a document kind, generated from the model (fast-check). */
import fc, { type Arbitrary } from 'fast-check';
import type { DocumentKind } from '../../src/model/document-kind.ts';
import { rootType, type ElementType, type Field, type ScalarType } from '../../src/model/schema.ts';

type Values = Record<string, unknown>;

const maxFields = 7;
const rawXml = fc.constantFrom(
  '<a/>',
  '<b:c xmlns:b="urn:b" d = \'1\'> t &amp; <!-- e --> <f/></b:c>',
  '<x xmlns="urn:x">\r\n<![CDATA[<]]></x>',
);
/** What XML can hold, with everything that writing may get wrong. */
const anyText = fc
  .array(
    fc.constantFrom('a', 'é', '🖥', ' ', '&', '&lt;', '&#10;', '<', '>', '"', "'", '\n', '\t', '\r', ']]>', '{', '0'),
    {
      minLength: 1,
      maxLength: 8,
    },
  )
  .map((parts) => parts.join(''));

/** Values that {@link validateDocument} accepts, of any depth up to `depth`. */
export function arbitraryDocument(kind: DocumentKind, depth = 5): Arbitrary<Values> {
  return arbitraryObject(rootType(kind), depth);
}

function arbitraryObject(type: ElementType, depth: number): Arbitrary<Values> {
  const fields = [...type.fields.values()].filter((field) => depth > 0 || field.type === undefined);
  return fc.subarray(fields, { maxLength: Math.min(maxFields, fields.length) }).chain((chosen) => {
    // White space alone is layout where children may stand.
    const hasChildren = type.children.size > 0;
    const members = chosen.map((field) => [field.key, arbitraryField(field, depth, hasChildren)] as const);
    return fc.record(Object.fromEntries(members));
  });
}

function arbitraryField(field: Field, depth: number, besideChildren: boolean): Arbitrary<unknown> {
  if (field.raw !== undefined) return fc.array(rawXml, { maxLength: 3 });
  const one =
    field.type !== undefined
      ? arbitraryObject(field.type, depth - 1)
      : field.scalar !== undefined
        ? arbitraryScalar(field.scalar, field.node === 'text' ? (besideChildren ? 'visible' : 'some') : 'any')
        : fc.constant('');
  return field.list ? fc.array(one, { minLength: 1, maxLength: 3 }) : one;
}

function arbitraryScalar(scalar: ScalarType, want: 'any' | 'some' | 'visible'): Arbitrary<unknown> {
  switch (scalar.kind) {
    case 'boolean':
      return fc.boolean();
    case 'enum':
      return fc.constantFrom(...(scalar.enum ?? []));
    case 'integer':
    case 'int-or-string': {
      const min = scalar.min ?? -(10n ** 30n);
      const max = scalar.max ?? 10n ** 30n;
      return fc.bigInt({ min, max }).map((number) => {
        const small = number >= Number.MIN_SAFE_INTEGER && number <= Number.MAX_SAFE_INTEGER;
        return small ? Number(number) : String(number);
      });
    }
    case 'string': {
      const text = scalar.pattern === undefined ? anyText : matching(scalar.pattern);
      const fits = text.filter((one) => {
        const { length } = Array.from(one);
        return length <= (scalar.maxLength ?? 1000) && length >= (scalar.minLength ?? 0) && isXml(one);
      });
      if (want === 'any') return fits;
      return fits.filter((one) => (want === 'some' ? one !== '' : /[^ \t\r\n]/.test(one)));
    }
  }
}

const known = new Map<string, Arbitrary<string>>();

/** Strings for a pattern. Taking a pattern apart is slow, and there are few of them. */
function matching(pattern: string): Arbitrary<string> {
  let found = known.get(pattern);
  if (found === undefined) {
    found = fc.stringMatching(new RegExp(`^(?:${pattern})$`, 'u'));
    known.set(pattern, found);
  }
  return found;
}

function isXml(text: string): boolean {
  return !/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u.test(text);
}
