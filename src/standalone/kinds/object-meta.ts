import type { JsonSchema } from '../schema/json-schema.ts';

const text = (description: string): JsonSchema => ({ type: 'string', description });
const time = (description: string): JsonSchema => ({ type: 'string', format: 'date-time', description });

/** metav1.ObjectMeta: what is known of metadata; the rest is dropped. */
export const objectMetaSchema: JsonSchema = {
  type: 'object',
  description:
    'ObjectMeta is metadata that all persisted resources must have, which includes all objects users must create.',
  properties: {
    name: text(
      'Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: http://kubernetes.io/docs/user-guide/identifiers#names',
    ),
    generateName: text('GenerateName is a prefix of the name that the server makes when name is left out.'),
    namespace: text('Namespace defines the space within which each name must be unique. Cannot be updated.'),
    selfLink: text('Deprecated and not filled in.'),
    uid: text('UID is unique in time and space, and set by the server. Read-only.'),
    resourceVersion: text('The version of this object, opaque to clients: equal means unchanged. Read-only.'),
    generation: {
      type: 'integer',
      format: 'int64',
      description: 'Counts the changes of the desired state. Read-only.',
    },
    creationTimestamp: time('When the object was created, RFC 3339 in UTC. Read-only.'),
    deletionTimestamp: time('When deletion was asked for; the object goes once its finalizers are empty. Read-only.'),
    deletionGracePeriodSeconds: { type: 'integer', format: 'int64', description: 'Seconds until deletion. Read-only.' },
    labels: {
      type: 'object',
      additionalProperties: { type: 'string' },
      description: 'Keys and values to select objects by.',
    },
    annotations: {
      type: 'object',
      additionalProperties: { type: 'string' },
      description: 'Keys and values that tools keep with the object.',
    },
    ownerReferences: {
      type: 'array',
      description: 'Objects this one depends on: when all are gone it is deleted.',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['uid'],
      'x-kubernetes-patch-merge-key': 'uid',
      'x-kubernetes-patch-strategy': 'merge',
      items: {
        type: 'object',
        required: ['apiVersion', 'kind', 'name', 'uid'],
        'x-kubernetes-map-type': 'atomic',
        properties: {
          apiVersion: text('API version of the owner.'),
          kind: text('Kind of the owner.'),
          name: text('Name of the owner.'),
          uid: text('UID of the owner.'),
          controller: { type: 'boolean', description: 'Whether this owner manages the object.' },
          blockOwnerDeletion: {
            type: 'boolean',
            description: 'Whether the owner waits for this object in foreground deletion.',
          },
        },
      },
    },
    finalizers: {
      type: 'array',
      description: 'Must be empty before the object is removed; each is the duty of whoever put it there.',
      'x-kubernetes-list-type': 'set',
      'x-kubernetes-patch-strategy': 'merge',
      items: { type: 'string' },
    },
    managedFields: {
      type: 'array',
      description: 'Who set which field last.',
      items: {
        type: 'object',
        properties: {
          manager: text('Who.'),
          operation: text('Apply or Update.'),
          apiVersion: text('The version of the fields.'),
          time: time('When.'),
          fieldsType: text('FieldsV1.'),
          fieldsV1: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true, description: 'The fields.' },
          subresource: text('The subresource it was written through.'),
        },
      },
    },
  },
};

const typeMeta: Readonly<Record<string, JsonSchema>> = {
  apiVersion: text(
    'APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources',
  ),
  kind: text(
    'Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds',
  ),
};

/** A definition's schema with apiVersion, kind and metadata, as merging and OpenAPI need it. */
export function withTypeMeta(schema: JsonSchema): JsonSchema {
  return { ...schema, properties: { ...typeMeta, metadata: objectMetaSchema, ...withoutMeta(schema) } };
}

function withoutMeta(schema: JsonSchema): Readonly<Record<string, JsonSchema>> {
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...rest } = schema.properties ?? {};
  return rest;
}
