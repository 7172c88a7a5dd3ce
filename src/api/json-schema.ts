import { openApiSchema } from '../model/openapi.ts';
import { quantityPattern } from './quantity.ts';
import type { Node } from './schema.ts';

/** apiextensions' JSONSchemaProps, as far as we write it; always structural. */
export interface JsonSchema {
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly description?: string;
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
}

/** The structural schema of a node of our schema language, libvirt's documents included. */
export function toJsonSchema(node: Node): JsonSchema {
  switch (node.type) {
    case 'string': {
      const { description, words, minLength, maxLength, pattern, format } = node;
      return {
        ...defined({ type: 'string' as const, description, format, minLength, maxLength, pattern }),
        ...defined({ enum: words, default: node.default }),
      };
    }
    case 'integer':
      return defined({
        type: 'integer' as const,
        description: node.description,
        format: node.format,
        minimum: node.min,
        maximum: node.max,
        default: node.default,
      });
    case 'boolean':
      return defined({ type: 'boolean' as const, description: node.description, default: node.default });
    case 'quantity':
      return {
        description: node.description,
        'x-kubernetes-int-or-string': true,
        anyOf: [{ type: 'integer' }, { type: 'string' }],
        pattern: quantityPattern,
      };
    case 'list':
      return defined({
        type: 'array' as const,
        description: node.description,
        minItems: node.minItems,
        maxItems: node.maxItems,
        items: toJsonSchema(node.item),
        'x-kubernetes-list-type':
          node.keys !== undefined ? ('map' as const) : node.set === true ? ('set' as const) : undefined,
        'x-kubernetes-list-map-keys': node.keys,
      });
    case 'map':
      return { type: 'object', description: node.description, additionalProperties: toJsonSchema(node.item) };
    case 'object':
      return {
        type: 'object',
        description: node.description,
        ...(node.required.length > 0 ? { required: node.required } : {}),
        properties: Object.fromEntries(Object.entries(node.fields).map(([name, field]) => [name, toJsonSchema(field)])),
      };
    case 'document': {
      const whole: JsonSchema = openApiSchema(node.document, { descriptions: node.at.length === 0 });
      return { ...withoutRepetition(schemaAt(whole, node.at)), description: node.description };
    }
  }
}

/** The schema of the element at a path of keys; of its entries where it is a list. */
function schemaAt(schema: JsonSchema, path: readonly string[]): JsonSchema {
  let at = schema;
  for (const key of path) {
    const next = at.properties?.[key];
    if (next === undefined) throw new Error(`the schema has no ${path.join('.')}`);
    at = next.items ?? next;
  }
  return at;
}

/**
 * A snapshot's document holds two whole domains. What their fields mean stands in VirtualMachine's spec.domain already;
 * a third of a megabyte for each would bring the CRD near what etcd takes.
 */
function withoutRepetition(schema: JsonSchema): JsonSchema {
  const { domain, inactiveDomain, ...others } = schema.properties ?? {};
  if (domain === undefined || inactiveDomain === undefined) return schema;
  const bare = (one: JsonSchema): JsonSchema => ({ ...withoutDescriptions(one), description: one.description ?? '' });
  return { ...schema, properties: { ...others, domain: bare(domain), inactiveDomain: bare(inactiveDomain) } };
}

function withoutDescriptions(schema: JsonSchema): JsonSchema {
  const { description: _, properties, items, ...rest } = schema;
  return {
    ...rest,
    ...(items === undefined ? {} : { items: withoutDescriptions(items) }),
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties).map(([name, property]) => [name, withoutDescriptions(property)]),
          ),
        }),
  };
}

/** Without the members that are undefined. */
function defined<T extends Readonly<Record<string, unknown>>>(
  members: T,
): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
