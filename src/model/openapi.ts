/** The model as a structural OpenAPI v3 schema, as a CustomResourceDefinition takes it. */
import type { DocumentKind } from './document-kind.ts';
import { describeField } from './explain.ts';
import { rootType, type ElementType, type Field, type ScalarType } from './schema.ts';

/** The part of Kubernetes' JSONSchemaProps that the model needs. */
export interface JsonSchemaProps {
  type?: 'object' | 'array' | 'string' | 'integer' | 'boolean';
  format?: 'int64';
  description?: string;
  properties?: Record<string, JsonSchemaProps>;
  items?: JsonSchemaProps;
  enum?: string[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  'x-kubernetes-int-or-string'?: true;
  'x-kubernetes-preserve-unknown-fields'?: true;
}

/**
 * The schema of a document kind. Structural: no references, every level typed. Where libvirt's schema recurses (a
 * backing store inside a backing store) the second level is open, since a CRD cannot recurse; {@link validateDocument}
 * checks there too. Nothing is required: what is left out is libvirt's, or a default of ours.
 */
export function openApiSchema(kind: DocumentKind, options: { readonly descriptions?: boolean } = {}): JsonSchemaProps {
  return typeSchema(kind, rootType(kind), [], new Set(), options.descriptions === true);
}

function typeSchema(
  kind: DocumentKind,
  type: ElementType,
  path: readonly string[],
  open: Set<ElementType>,
  descriptions: boolean,
): JsonSchemaProps {
  if (open.has(type)) return { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  open.add(type);
  const properties: Record<string, JsonSchemaProps> = {};
  for (const field of type.fields.values()) {
    const fieldPath = [...path, field.key];
    const one = oneSchema(kind, field, fieldPath, open, descriptions);
    const schema: JsonSchemaProps = field.list ? { type: 'array', items: one } : one;
    properties[field.key] = descriptions ? { description: describeField(kind, fieldPath, field), ...schema } : schema;
  }
  open.delete(type);
  return type.fields.size === 0 ? { type: 'object' } : { type: 'object', properties };
}

function oneSchema(
  kind: DocumentKind,
  field: Field,
  path: readonly string[],
  open: Set<ElementType>,
  descriptions: boolean,
): JsonSchemaProps {
  if (field.type !== undefined) return typeSchema(kind, field.type, path, open, descriptions);
  return field.scalar === undefined ? { type: 'string' } : scalarSchema(field.scalar);
}

function scalarSchema(scalar: ScalarType): JsonSchemaProps {
  switch (scalar.kind) {
    case 'boolean':
      return { type: 'boolean' };
    case 'enum':
      return { type: 'string', enum: [...(scalar.enum ?? [])] };
    case 'int-or-string':
      return { 'x-kubernetes-int-or-string': true };
    case 'integer':
      return {
        type: 'integer',
        format: 'int64',
        ...(scalar.min === undefined ? {} : { minimum: Number(scalar.min) }),
        ...(scalar.max === undefined ? {} : { maximum: Number(scalar.max) }),
      };
    case 'string':
      return {
        type: 'string',
        ...(scalar.pattern === undefined ? {} : { pattern: `^(?:${scalar.pattern})$` }),
        ...(scalar.minLength === undefined ? {} : { minLength: scalar.minLength }),
        ...(scalar.maxLength === undefined ? {} : { maxLength: scalar.maxLength }),
      };
  }
}
