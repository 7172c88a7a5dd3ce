/**
 * libvirt's schema as typed tables: what the analyser, the convertor, the validator, the CRDs and `explain` go by.
 *
 * `tables.gen.ts` holds one compact row for each type, generated from libvirt's RELAX NG schemas; this module decodes a
 * type when it is first asked for. Everything here is immutable after that and shared by all callers.
 */
import type { DocumentKind } from './document-kind.ts';
import { namespaces, rootRows, scalarRows, typeRows } from './tables.gen.ts';

/** What a text or an attribute's value is in YAML (design section 3, rule 5). */
export interface ScalarType {
  /** `int-or-string`: an integer, or its decimal digits in a string where it is outside ±(2^53 - 1). */
  readonly kind: 'boolean' | 'integer' | 'int-or-string' | 'enum' | 'string';
  /** The words of an enumeration. */
  readonly enum?: readonly string[];
  /** The words of a boolean in XML: for true, for false. */
  readonly booleanWords?: readonly [string, string];
  /** A regular expression for the whole text, not anchored, that JavaScript (flag `u`) and RE2 both read. */
  readonly pattern?: string;
  /** Inclusive. */
  readonly min?: bigint;
  /** Inclusive. */
  readonly max?: bigint;
  /** In characters. */
  readonly minLength?: number;
  /** In characters. */
  readonly maxLength?: number;
}

/** One key of a type. */
export interface Field {
  /** The key in YAML. */
  readonly key: string;
  /** The name in XML, with libvirt's prefix for a name in a namespace; empty for the text. */
  readonly xmlName: string;
  /** The URI of a name in a namespace. */
  readonly namespace?: string;
  readonly node: 'attribute' | 'text' | 'element';
  /** Its place among the fields of its type. */
  readonly order: number;
  /** The schema lets the element repeat: always a list. */
  readonly list: boolean;
  /** Every form of the schema has it. Objects of ours may leave it to libvirt or to a default. */
  readonly required: boolean;
  /** Of an attribute, of the text, or of an element that has nothing but text. */
  readonly scalar?: ScalarType;
  /** Of an element that may have attributes or children, or is empty. */
  readonly type?: ElementType;
  /** Other people's XML: a list of raw XML strings, one for each child element. */
  readonly raw?: 'xml';
}

/** What an element may hold. */
export interface ElementType {
  /** Its name in types.gen.ts. */
  readonly id: string;
  /** By key: attributes, the text (`value`), children in schema order. */
  readonly fields: ReadonlyMap<string, Field>;
  /** Attributes by name in XML. None of libvirt's has a namespace. */
  readonly attributes: ReadonlyMap<string, Field>;
  /** Children by {@link expandedName}. */
  readonly children: ReadonlyMap<string, Field>;
  /** The text, key `value`. */
  readonly text: Field | undefined;
}

/** The URI behind each prefix that libvirt documents: `qemu`, `lxc`, `bhyve`, `xen`, `vmware`, `dnsmasq`, `fs`, `rbd`. */
export const namespaceOfPrefix: Readonly<Record<string, string>> = namespaces;

/** How {@link ElementType.children} names an element: its local name, after `{uri}` when it is in a namespace. */
export function expandedName(local: string, uri: string): string {
  return uri === '' ? local : `{${uri}}${local}`;
}

const cell = /^([^=*!@#/]+)(?:=([^*!@#/]+))?(\*?)(!?)([@#/])([0-9]+)$/;
const decodedTypes = new Map<number, LazyType>();
const decodedScalars = new Map<number, ScalarType>();

/** A type whose fields are decoded when they are first read: the graph is large and has cycles. */
class LazyType implements ElementType {
  readonly id: string;
  readonly #cells: readonly string[];
  #decoded: Omit<ElementType, 'id'> | undefined;

  constructor(row: string) {
    const [name = '', ...cells] = row.split(' ');
    this.id = name;
    this.#cells = cells;
  }

  get fields(): ReadonlyMap<string, Field> {
    return (this.#decoded ??= decodeFields(this.#cells)).fields;
  }

  get attributes(): ReadonlyMap<string, Field> {
    return (this.#decoded ??= decodeFields(this.#cells)).attributes;
  }

  get children(): ReadonlyMap<string, Field> {
    return (this.#decoded ??= decodeFields(this.#cells)).children;
  }

  get text(): Field | undefined {
    return (this.#decoded ??= decodeFields(this.#cells)).text;
  }
}

function decodeFields(cells: readonly string[]): Omit<ElementType, 'id'> {
  const fields = new Map<string, Field>();
  const attributes = new Map<string, Field>();
  const children = new Map<string, Field>();
  let text: Field | undefined;
  for (const [order, source] of cells.entries()) {
    const field = decodeField(source, order);
    fields.set(field.key, field);
    if (field.node === 'attribute') attributes.set(field.xmlName, field);
    else if (field.node === 'text') text = field;
    else children.set(expandedName(localName(field.xmlName), field.namespace ?? ''), field);
  }
  return { fields, attributes, children, text };
}

function decodeField(source: string, order: number): Field {
  const match = cell.exec(source);
  if (match === null) throw new Error(`the generated tables are damaged at ${source}`);
  const [, key = '', otherName, list, required, mark, number] = match;
  const node = mark === '@' ? 'attribute' : mark === '#' ? 'text' : 'element';
  const xmlName = node === 'text' ? '' : (otherName ?? key);
  const uri = namespaceOf(xmlName);
  const common = {
    key,
    xmlName,
    node,
    order,
    list: list !== '',
    required: required !== '',
    ...(uri === undefined ? {} : { namespace: uri }),
  } as const;
  if (node !== 'element') return Object.freeze({ ...common, scalar: scalarAt(Number(number)) });
  const row = typeRows[Number(number)] ?? '';
  if (row.startsWith('<')) return Object.freeze({ ...common, list: true, raw: 'xml' });
  const onlyText = /^[^ ]+ value#([0-9]+)$/.exec(row);
  if (onlyText !== null) return Object.freeze({ ...common, scalar: scalarAt(Number(onlyText[1])) });
  return Object.freeze({ ...common, type: typeAt(Number(number)) });
}

function namespaceOf(xmlName: string): string | undefined {
  const colon = xmlName.indexOf(':');
  return colon < 0 ? undefined : namespaceOfPrefix[xmlName.slice(0, colon)];
}

function localName(xmlName: string): string {
  return xmlName.slice(xmlName.indexOf(':') + 1);
}

function typeAt(number: number): ElementType {
  let type = decodedTypes.get(number);
  if (type === undefined) {
    type = new LazyType(typeRows[number] ?? '');
    decodedTypes.set(number, type);
  }
  return type;
}

interface ScalarRow {
  readonly kind: ScalarType['kind'];
  readonly words?: readonly string[];
  readonly min?: string;
  readonly max?: string;
  readonly patterns?: readonly string[];
  readonly minLength?: number;
  readonly maxLength?: number;
}

function scalarAt(number: number): ScalarType {
  let scalar = decodedScalars.get(number);
  if (scalar === undefined) {
    scalar = Object.freeze(decodeScalar(JSON.parse(scalarRows[number] ?? 'null') as ScalarRow));
    decodedScalars.set(number, scalar);
  }
  return scalar;
}

function decodeScalar({ kind, words, min, max, patterns, minLength, maxLength }: ScalarRow): ScalarType {
  const [whenTrue = '', whenFalse = ''] = words ?? [];
  return {
    kind,
    ...(words === undefined ? {} : kind === 'boolean' ? { booleanWords: [whenTrue, whenFalse] } : { enum: words }),
    ...(min === undefined ? {} : { min: BigInt(min) }),
    ...(max === undefined ? {} : { max: BigInt(max) }),
    ...(patterns === undefined ? {} : { pattern: onePattern(patterns) }),
    ...(minLength === undefined ? {} : { minLength }),
    ...(maxLength === undefined ? {} : { maxLength }),
  };
}

/** One alternative may be empty: the text may be too. */
function onePattern(patterns: readonly string[]): string {
  const visible = patterns.filter((one) => one !== '');
  const [only] = visible;
  if (visible.length < patterns.length) return `(${visible.join('|')})?`;
  return only !== undefined && visible.length === 1 ? only : visible.map((one) => `(${one})`).join('|');
}

/** The name of a document's root element: `pool` for a storagepool. */
export function rootElement(kind: DocumentKind): string {
  return rootRow(kind)[1];
}

/** The type of a document's root element. */
export function rootType(kind: DocumentKind): ElementType {
  return typeAt(rootRow(kind)[2]);
}

/** The document kind that starts with this element; undefined for none of libvirt's. */
export function kindOfRootElement(name: string): DocumentKind | undefined {
  return rootRows.find((row) => row[1] === name)?.[0] as DocumentKind | undefined;
}

function rootRow(kind: DocumentKind): (typeof rootRows)[number] {
  const row = rootRows.find((candidate) => candidate[0] === kind);
  if (row === undefined) throw new Error(`the generated tables have no ${kind}`);
  return row;
}

/** The field at a path of keys (without list indices), as in `['devices', 'disk', 'driver']`. */
export function fieldAt(kind: DocumentKind, path: readonly string[]): Field | undefined {
  let type: ElementType | undefined = rootType(kind);
  let field: Field | undefined;
  for (const key of path) {
    field = type?.fields.get(key);
    type = field?.type;
  }
  return field;
}

/** What the tables hold for a kind; a test compares it with what the schema has. */
export interface ModelSize {
  /** Distinct types of elements: with attributes or children, with text only, empty, and other people's XML. */
  readonly types: number;
  /** Attributes and elements when every type is written out at each place, each recursion once; with the root. */
  readonly nodes: number;
}

/** Counts a kind's types and nodes in the tables. */
export function modelSize(kind: DocumentKind): ModelSize {
  const seen = new Set<number>();
  const open = new Set<number>();
  let nodes = 1;
  const walk = (number: number): void => {
    seen.add(number);
    if (open.has(number)) return;
    open.add(number);
    for (const source of (typeRows[number] ?? '').split(' ').slice(1)) {
      const [, , , , , mark, target] = cell.exec(source) ?? [];
      if (mark !== '#') nodes += 1;
      if (mark === '/') walk(Number(target));
    }
    open.delete(number);
  };
  walk(rootRow(kind)[2]);
  return { types: seen.size, nodes };
}
