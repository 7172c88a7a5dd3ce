/**
 * The small language in which our own fields are written down once: TypeScript types ({@link Value}), the structural
 * schemas of the CRDs (json-schema.ts) and validation with nearest names (check-value.ts) are derived from it. Every
 * field has a description, with its unit where it has one.
 */
import type { DocumentKind } from '../model/document-kind.ts';

declare const value: unique symbol;

/** A schema whose valid values are of type T. */
export interface Schema<T> {
  readonly node: Node;
  /** Only in the types: what a valid value is. */
  readonly [value]?: T;
}

/** The type of a schema's valid values. */
export type Value<S> = S extends Schema<infer T> ? T : never;

type Fields = Readonly<Record<string, Schema<unknown>>>;

/** Members of an object that are all required. */
export type RequiredValue<R extends Fields> = { readonly [K in keyof R]: Value<R[K]> };

/** Members of an object: the required ones and the optional ones. */
export type ObjectValue<R extends Fields, O extends Fields> = RequiredValue<R> & {
  readonly [K in keyof O]?: Value<O[K]> | undefined;
};

/** What every node carries. */
interface Described {
  readonly description: string;
}

/** Limits of a string. */
export interface StringLimits {
  readonly minLength?: number;
  readonly maxLength?: number;
  /** An anchored ECMAScript and RE2 regular expression. */
  readonly pattern?: string;
  /** What the pattern means, for the message: "expected …". */
  readonly expected?: string;
  readonly format?: 'date-time' | 'byte';
  readonly default?: string;
}

/** Limits of an integer. */
export interface IntegerLimits {
  readonly min?: number;
  readonly max?: number;
  readonly default?: number;
}

/** How server-side apply merges a list. */
export interface ListOptions {
  readonly maxItems?: number;
  readonly minItems?: number;
  /** The members that name an entry; makes the list a map for server-side apply. They must be required members. */
  readonly keys?: readonly string[];
  /** Entries are scalars and unique. */
  readonly set?: boolean;
}

export type Node =
  | (Described & StringLimits & { readonly type: 'string'; readonly words?: readonly string[] })
  | (Described & IntegerLimits & { readonly type: 'integer'; readonly format: 'int32' | 'int64' })
  | (Described & { readonly type: 'boolean'; readonly default?: boolean })
  | (Described & { readonly type: 'quantity' })
  | (Described & ListOptions & { readonly type: 'list'; readonly item: Node })
  | (Described & { readonly type: 'map'; readonly item: Node })
  | (Described & { readonly type: 'object'; readonly required: readonly string[]; readonly fields: NodeFields })
  | (Described & { readonly type: 'document'; readonly document: DocumentKind; readonly at: readonly string[] });

/** The members of an object by name, in the order in which they are written. */
export type NodeFields = Readonly<Record<string, Node>>;

/** A string. */
export function string(description: string, limits: StringLimits = {}): Schema<string> {
  return { node: { type: 'string', description, ...limits } };
}

/** One of some words. */
export function words<const W extends readonly string[]>(
  description: string,
  choices: W,
  options: { readonly default?: W[number] } = {},
): Schema<W[number]> {
  return { node: { type: 'string', description, words: choices, ...options } };
}

/** The name of an object in the same namespace (RFC 1123 subdomain, as metadata.name). */
export function objectName(description: string): Schema<string> {
  return string(description, {
    minLength: 1,
    maxLength: 253,
    pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
    expected: 'the name of an object: lower-case letters, digits, "-" and "."',
  });
}

/** A time as metav1.Time: RFC 3339. */
export function time(description: string): Schema<string> {
  return string(description, { format: 'date-time' });
}

/** A 32-bit integer. */
export function integer(description: string, limits: IntegerLimits = {}): Schema<number> {
  return { node: { type: 'integer', format: 'int32', description, ...limits } };
}

/** A 64-bit integer; within ±2^53 as JSON carries it. */
export function longInteger(description: string, limits: IntegerLimits = {}): Schema<number> {
  return { node: { type: 'integer', format: 'int64', description, ...limits } };
}

/** true or false. */
export function boolean(description: string, options: { readonly default?: boolean } = {}): Schema<boolean> {
  return { node: { type: 'boolean', description, ...options } };
}

/** A Kubernetes quantity, as `10Gi`, `500M` or a plain number of bytes (quantity.ts). */
export function quantity(description: string): Schema<string | number> {
  return { node: { type: 'quantity', description } };
}

/** A list. */
export function list<T>(description: string, item: Schema<T>, options: ListOptions = {}): Schema<readonly T[]> {
  return { node: { type: 'list', description, item: item.node, ...options } };
}

/** Any names with values of one type. */
export function map<T>(description: string, item: Schema<T>): Schema<Readonly<Record<string, T>>> {
  return { node: { type: 'map', description, item: item.node } };
}

/** An object of named members: the required ones, then the optional ones. */
export function object<R extends Fields>(description: string, required: R): Schema<RequiredValue<R>>;
export function object<R extends Fields, O extends Fields>(
  description: string,
  required: R,
  optional: O,
): Schema<ObjectValue<R, O>>;
export function object(description: string, required: Fields, optional: Fields = {}): Schema<unknown> {
  const fields: Record<string, Node> = {};
  for (const [name, field] of Object.entries({ ...required, ...optional })) fields[name] = field.node;
  return { node: { type: 'object', description, required: Object.keys(required), fields } };
}

/**
 * A libvirt document, or the element of it at `at`, by libvirt's own schema. Nothing in its root is required: what
 * the object's other fields say (name, capacity, …) is filled in from them.
 */
export function document<T>(description: string, kind: DocumentKind, at: readonly string[] = []): Schema<T> {
  return { node: { type: 'document', description, document: kind, at } };
}
