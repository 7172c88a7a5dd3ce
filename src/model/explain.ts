/** What a field is, in words, and where libvirt describes it: for `virtctl explain`, the field reference and CRDs. */
import type { DocumentKind } from './document-kind.ts';
import { libvirtPage } from './libvirt-pages.ts';
import { fieldAt, rootType, type ElementType, type Field } from './schema.ts';

/** A field as `virtctl explain` shows it. */
export interface FieldExplanation {
  /** Keys from the document's root; empty for the root itself. */
  readonly path: readonly string[];
  /** In kubectl's manner: `string`, `integer`, `boolean`, `Object`, `[]Object`, `integer or string`. */
  readonly type: string;
  readonly list: boolean;
  /** libvirt's schema has no form without it. */
  readonly required: boolean;
  /** The words of an enumeration. */
  readonly enum?: readonly string[];
  /** A regular expression for the whole string. */
  readonly pattern?: string;
  /** Decimal, inclusive. */
  readonly min?: string;
  /** Decimal, inclusive. */
  readonly max?: string;
  /** What it is in XML, one sentence. */
  readonly description: string;
  /** Where libvirt describes it. */
  readonly link: string;
  /** The fields inside, in schema order. */
  readonly fields: readonly { readonly key: string; readonly type: string; readonly description: string }[];
}

/** Explains the field at a path of keys, or the whole document at an empty one; undefined for an unknown path. */
export function explainField(kind: DocumentKind, path: readonly string[]): FieldExplanation | undefined {
  const field = path.length === 0 ? undefined : fieldAt(kind, path);
  if (path.length > 0 && field === undefined) return undefined;
  const type = path.length === 0 ? rootType(kind) : field?.type;
  const scalar = field?.scalar;
  return {
    path,
    type: field === undefined ? 'Object' : typeWords(field),
    list: field?.list ?? false,
    required: field?.required ?? true,
    ...(scalar?.enum === undefined ? {} : { enum: scalar.enum }),
    ...(scalar?.pattern === undefined ? {} : { pattern: scalar.pattern }),
    ...(scalar?.min === undefined ? {} : { min: String(scalar.min) }),
    ...(scalar?.max === undefined ? {} : { max: String(scalar.max) }),
    description: field === undefined ? `libvirt's ${kind} document.` : describeField(kind, path, field),
    link: libvirtPage(kind, path),
    fields: type === undefined ? [] : inside(kind, path, type),
  };
}

function inside(kind: DocumentKind, path: readonly string[], type: ElementType): FieldExplanation['fields'] {
  return [...type.fields.values()].map((field) => ({
    key: field.key,
    type: typeWords(field),
    description: describeField(kind, [...path, field.key], field),
  }));
}

/** A field's type in kubectl's manner. */
export function typeWords(field: Field): string {
  const words = {
    boolean: 'boolean',
    integer: 'integer',
    'int-or-string': 'integer or string',
    enum: 'string',
    string: 'string',
  };
  const one = field.scalar !== undefined ? words[field.scalar.kind] : field.raw !== undefined ? 'string' : 'Object';
  return field.list ? `[]${one}` : one;
}

/** One sentence: the field's place in libvirt's XML. */
export function describeField(_kind: DocumentKind, path: readonly string[], field: Field): string {
  const parent = path.at(-2);
  const where = parent === undefined ? '' : ` of <${parent}>`;
  switch (field.node) {
    case 'attribute':
      return `Attribute ${field.xmlName}${where}.${meaning(field)}`;
    case 'text':
      return `The text${where}.${meaning(field)}`;
    case 'element':
      return `Element <${field.xmlName}>${field.list ? ', any number' : ''}.${meaning(field)}`;
  }
}

function meaning(field: Field): string {
  if (field.raw !== undefined) return ' Each entry is one element of other software, kept byte for byte.';
  const words = field.scalar?.booleanWords;
  if (words !== undefined) return ` true is ${words[0]}, false is ${words[1]}.`;
  if (field.scalar?.kind === 'int-or-string') return ' Digits in a string beyond 2^53.';
  return '';
}
