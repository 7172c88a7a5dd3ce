/** The schemas of OpenAPI documents by their names, the same for both versions but for references and extensions. */
import { objectMetaSchema, withTypeMeta } from '../kinds/object-meta.ts';
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';

const meta = 'io.k8s.apimachinery.pkg.apis.meta.v1';

/** The names of the schemas that every document has. */
export const metaNames = {
  objectMeta: `${meta}.ObjectMeta`,
  listMeta: `${meta}.ListMeta`,
  status: `${meta}.Status`,
  deleteOptions: `${meta}.DeleteOptions`,
  patch: `${meta}.Patch`,
} as const;

/** `dev.virtctl.v1alpha1.VirtualMachine`: the group backwards, as kube-apiserver names custom resources. */
export function schemaName(definition: ResourceDefinition): string {
  const prefix =
    definition.openApiPackage ?? `${definition.group.split('.').reverse().join('.')}.${definition.version}`;
  return `${prefix}.${definition.kind}`;
}

/** Group, version and kind as the extension x-kubernetes-group-version-kind writes them. */
export function gvkOf(definition: ResourceDefinition): JsonObject {
  return { group: definition.group, kind: definition.kind, version: definition.version };
}

/** How one version of OpenAPI writes a schema. */
export interface SchemaWriter {
  /** The path of references, as `#/definitions/`. */
  readonly refPrefix: string;
  readonly write: (schema: JsonSchema) => JsonObject;
}

/** Every schema that the given definitions need, by name. */
export function namedSchemas(definitions: readonly ResourceDefinition[], writer: SchemaWriter): JsonObject {
  const schemas: JsonObject = {};
  for (const definition of definitions) {
    const name = schemaName(definition);
    const ref = (to: string): JsonObject => ({ $ref: `${writer.refPrefix}${to}` });
    const own = writer.write(withTypeMeta(definition.schema));
    own['properties'] = {
      ...(own['properties'] as JsonObject),
      metadata: reference(
        writer,
        metaNames.objectMeta,
        "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
      ),
    };
    own['x-kubernetes-group-version-kind'] = [gvkOf(definition)];
    schemas[name] = own;
    const typeMeta = writer.write(withTypeMeta({ type: 'object' }))['properties'] as JsonObject;
    schemas[`${name}List`] = {
      description: `${definition.kind}List is a list of ${definition.kind}`,
      type: 'object',
      required: ['items'],
      properties: {
        apiVersion: typeMeta['apiVersion'],
        kind: typeMeta['kind'],
        metadata: reference(writer, metaNames.listMeta, 'Standard list metadata.'),
        items: {
          type: 'array',
          description: `List of ${definition.plural}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md`,
          items: ref(name),
        },
      },
      'x-kubernetes-group-version-kind': [{ ...gvkOf(definition), kind: `${definition.kind}List` }],
    };
  }
  schemas[metaNames.objectMeta] = writer.write(objectMetaSchema);
  schemas[metaNames.listMeta] = writer.write(listMeta);
  schemas[metaNames.status] = writer.write(status);
  schemas[metaNames.deleteOptions] = writer.write(deleteOptions);
  schemas[metaNames.patch] = { type: 'object', description: 'A patch of an object.' };
  return schemas;
}

/** OpenAPI v2 and v3.0 let nothing stand beside $ref; v3 wraps it. */
function reference(writer: SchemaWriter, to: string, description: string): JsonObject {
  const ref = { $ref: `${writer.refPrefix}${to}` };
  return writer.refPrefix.startsWith('#/definitions')
    ? { description, ...ref }
    : { description, allOf: [ref], default: {} };
}

const text = (description: string): JsonSchema => ({ type: 'string', description });

const listMeta: JsonSchema = {
  type: 'object',
  description:
    'ListMeta describes metadata that synthetic resources must have, including lists and various status objects.',
  properties: {
    continue: text('Set when there are more objects: the token of the next page.'),
    remainingItemCount: { type: 'integer', format: 'int64', description: 'How many objects are left.' },
    resourceVersion: text('The state that the list shows.'),
    selfLink: text('Deprecated and not filled in.'),
  },
};

const status: JsonSchema = {
  type: 'object',
  description: 'Status is a return value for calls that do not return other objects.',
  properties: {
    apiVersion: text('v1'),
    kind: text('Status'),
    code: { type: 'integer', format: 'int32', description: 'The HTTP status code.' },
    message: text('What happened.'),
    reason: text('Why, as one word.'),
    status: text('Success or Failure.'),
  },
};

const deleteOptions: JsonSchema = {
  type: 'object',
  description: 'DeleteOptions may be provided when deleting an API object.',
  properties: {
    apiVersion: text('v1'),
    kind: text('DeleteOptions'),
    dryRun: { type: 'array', items: { type: 'string' }, description: 'All: nothing is stored.' },
    propagationPolicy: text('Background, Foreground or Orphan.'),
    preconditions: {
      type: 'object',
      description: 'What must be so for the deletion to be done.',
      properties: { uid: text('The UID.'), resourceVersion: text('The resource version.') },
    },
  },
};
