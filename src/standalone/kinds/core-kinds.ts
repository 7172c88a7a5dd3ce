/** The kinds of Kubernetes itself that one machine needs: Namespace, Secret, ConfigMap, Event, Lease. */
import type { Cause } from '../http/api-error.ts';
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';
import { isJsonObject, textOf } from '../schema/json-schema.ts';
import { shortDuration } from '../../base/short-duration.ts';
import {
  eventFields,
  eventFieldNames,
  eventSchema,
  eventsV1Conversion,
  eventsV1Schema,
  eventCells,
  eventColumns,
} from './events.ts';
import type { AdmissionRequest, ResourceDefinition } from './resource-definition.ts';

const text = (description: string): JsonSchema => ({ type: 'string', description });
const ageColumn = {
  name: 'Age',
  type: 'string',
  description: 'CreationTimestamp is a timestamp representing the server time when this object was created.',
  jsonPath: '.metadata.creationTimestamp',
} as const;

const forbiddenChange = (field: string, message: string): Cause => ({
  reason: 'FieldValueForbidden',
  message: `Forbidden: ${message}`,
  field,
});

function count(value: unknown): number {
  return isJsonObject(value) ? Object.keys(value).length : 0;
}

function age(object: JsonObject, now: number): string {
  const created = (object['metadata'] as JsonObject)['creationTimestamp'];
  return shortDuration(now - Date.parse(String(created)));
}

const namespaces: ResourceDefinition = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  singular: 'namespace',
  kind: 'Namespace',
  shortNames: ['ns'],
  categories: [],
  scope: 'Cluster',
  builtIn: true,
  nameIsLabel: true,
  statusSubresource: true,
  openApiPackage: 'io.k8s.api.core.v1',
  schema: {
    type: 'object',
    description: 'Namespace provides a scope for Names. Use of multiple namespaces is optional.',
    properties: {
      spec: {
        type: 'object',
        description: 'Spec defines the behavior of the Namespace.',
        properties: {
          finalizers: {
            type: 'array',
            items: { type: 'string' },
            description: 'Must be empty before the namespace is removed.',
          },
        },
      },
      status: {
        type: 'object',
        description: 'Status describes the current status of a Namespace.',
        properties: { phase: text('Active or Terminating.') },
      },
    },
  },
  printerColumns: [
    { name: 'Status', type: 'string', description: 'The status of the namespace', jsonPath: '.status.phase' },
    ageColumn,
  ],
  cells: (object, now) => [(object['status'] as JsonObject | undefined)?.['phase'] ?? '', age(object, now)],
  selectableFieldNames: ['status.phase'],
  selectableFields: (object) => ({
    'status.phase': textOf((object['status'] as JsonObject | undefined)?.['phase']),
  }),
  prepare(object, old) {
    if (old === undefined) {
      object['spec'] = { finalizers: ['kubernetes'] };
      object['status'] = { phase: 'Active' };
    } else object['spec'] = old['spec'];
    const metadata = object['metadata'] as JsonObject;
    metadata['labels'] = {
      ...(metadata['labels'] as JsonObject | undefined),
      'kubernetes.io/metadata.name': metadata['name'],
    };
  },
};

function decodeStringData(object: JsonObject): void {
  const { stringData } = object;
  if (!isJsonObject(stringData)) return;
  const data: JsonObject = isJsonObject(object['data']) ? { ...object['data'] } : {};
  for (const [key, value] of Object.entries(stringData)) data[key] = Buffer.from(String(value)).toString('base64');
  object['data'] = data;
  delete object['stringData'];
}

function dataProblems(request: AdmissionRequest, what: 'secret' | 'configmap'): Cause[] {
  const { object, old } = request;
  const found: Cause[] = [];
  for (const field of ['data', 'binaryData']) {
    for (const key of Object.keys(isJsonObject(object[field]) ? object[field] : {})) {
      if (/^[-._a-zA-Z0-9]+$/.test(key) && key.length <= 253 && key !== '.' && !key.startsWith('..')) continue;
      const rule =
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
      found.push({
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${JSON.stringify(key)}: ${rule}`,
        field: `${field}[${key}]`,
      });
    }
  }
  found.push(...sizeProblems(object, what), ...(what === 'secret' ? typeProblems(object) : doubleProblems(object)));
  if (old?.['immutable'] === true) {
    const rule = 'field is immutable when `immutable` is set';
    if (object['immutable'] !== true) found.push(forbiddenChange('immutable', rule));
    for (const field of ['data', 'binaryData']) {
      if (JSON.stringify(object[field]) !== JSON.stringify(old[field])) found.push(forbiddenChange(field, rule));
    }
  }
  if (what === 'secret' && old !== undefined && object['type'] !== old['type']) {
    found.push({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(object['type'])}: field is immutable`,
      field: 'type',
    });
  }
  return found;
}

/** The most bytes that a Secret's or a ConfigMap's values may have together. */
const maxDataBytes = 1024 * 1024;

function sizeProblems(object: JsonObject, what: 'secret' | 'configmap'): Cause[] {
  const values = (field: string): string[] => Object.values((object[field] ?? {}) as JsonObject).map(textOf);
  const encoded = values(what === 'secret' ? 'data' : 'binaryData');
  const plain = what === 'secret' ? [] : values('data');
  const bytes =
    encoded.reduce((sum, value) => sum + Buffer.byteLength(value, 'base64'), 0) +
    plain.reduce((sum, value) => sum + Buffer.byteLength(value), 0);
  if (bytes <= maxDataBytes) return [];
  const message = `Too long: must have at most ${maxDataBytes} bytes`;
  return [{ reason: 'FieldValueTooLong', message, field: what === 'secret' ? 'data' : '' }];
}

/** What a Secret of a type that Kubernetes knows has to hold. */
const requiredData: ReadonlyMap<string, readonly string[]> = new Map([
  ['kubernetes.io/tls', ['tls.crt', 'tls.key']],
  ['kubernetes.io/ssh-auth', ['ssh-privatekey']],
  ['kubernetes.io/dockercfg', ['.dockercfg']],
  ['kubernetes.io/dockerconfigjson', ['.dockerconfigjson']],
]);

function typeProblems(object: JsonObject): Cause[] {
  const type = textOf(object['type']);
  const data = (object['data'] ?? {}) as JsonObject;
  const required = (field: string): Cause => ({ reason: 'FieldValueRequired', message: 'Required value', field });
  const needed = requiredData.get(type) ?? [];
  const missing = needed.filter((key) => !Object.hasOwn(data, key));
  const found = missing.map((key) => required(`data[${key}]`));
  if (type === 'kubernetes.io/basic-auth' && !('username' in data) && !('password' in data)) {
    found.push(required('data[username]'), required('data[password]'));
  }
  for (const key of ['.dockercfg', '.dockerconfigjson']) {
    if (missing.includes(key) || !needed.includes(key)) continue;
    if (isJson(Buffer.from(textOf(data[key]), 'base64').toString())) continue;
    const message = 'Invalid value: "<secret contents redacted>": is not JSON';
    found.push({ reason: 'FieldValueInvalid', message, field: `data[${key}]` });
  }
  return found;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/** A key may be in one of a ConfigMap's two maps only. */
function doubleProblems(object: JsonObject): Cause[] {
  const binary = (object['binaryData'] ?? {}) as JsonObject;
  return Object.keys((object['data'] ?? {}) as JsonObject)
    .filter((key) => Object.hasOwn(binary, key))
    .map((key) => ({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(key)}: duplicate of key present in binaryData`,
      field: `data[${key}]`,
    }));
}

const secrets: ResourceDefinition = {
  group: '',
  version: 'v1',
  plural: 'secrets',
  singular: 'secret',
  kind: 'Secret',
  shortNames: [],
  categories: [],
  scope: 'Namespaced',
  builtIn: true,
  statusSubresource: false,
  openApiPackage: 'io.k8s.api.core.v1',
  schema: {
    type: 'object',
    description:
      'Secret holds secret data of a certain type. The total bytes of the values in the Data field must be less than MaxSecretSize bytes.',
    properties: {
      type: text('Used to facilitate programmatic handling of secret data.'),
      immutable: { type: 'boolean', description: 'When true, the data cannot be changed any more.' },
      data: {
        type: 'object',
        additionalProperties: { type: 'string', format: 'byte' },
        description: 'The secret data, each value in base64.',
      },
      stringData: {
        type: 'object',
        additionalProperties: { type: 'string' },
        description: 'Write-only: plain text values that are put into data.',
      },
    },
  },
  printerColumns: [
    {
      name: 'Type',
      type: 'string',
      description: 'Used to facilitate programmatic handling of secret data.',
      jsonPath: '.type',
    },
    { name: 'Data', type: 'string', description: 'Data contains the secret data.', jsonPath: '.data' },
    ageColumn,
  ],
  cells: (object, now) => [object['type'] ?? '', count(object['data']), age(object, now)],
  selectableFieldNames: ['type'],
  selectableFields: (object) => ({ type: textOf(object['type']) }),
  prepare(object) {
    decodeStringData(object);
    object['type'] ??= 'Opaque';
  },
  admit: (request) => dataProblems(request, 'secret'),
};

const configMaps: ResourceDefinition = {
  group: '',
  version: 'v1',
  plural: 'configmaps',
  singular: 'configmap',
  kind: 'ConfigMap',
  shortNames: ['cm'],
  categories: [],
  scope: 'Namespaced',
  builtIn: true,
  statusSubresource: false,
  openApiPackage: 'io.k8s.api.core.v1',
  schema: {
    type: 'object',
    description: 'ConfigMap holds configuration data for pods to consume.',
    properties: {
      immutable: { type: 'boolean', description: 'When true, the data cannot be changed any more.' },
      data: { type: 'object', additionalProperties: { type: 'string' }, description: 'The configuration data.' },
      binaryData: {
        type: 'object',
        additionalProperties: { type: 'string', format: 'byte' },
        description: 'Binary data, each value in base64.',
      },
    },
  },
  printerColumns: [
    { name: 'Data', type: 'string', description: 'Data contains the configuration data.', jsonPath: '.data' },
    ageColumn,
  ],
  cells: (object, now) => [count(object['data']) + count(object['binaryData']), age(object, now)],
  admit: (request) => dataProblems(request, 'configmap'),
};

const leases: ResourceDefinition = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  singular: 'lease',
  kind: 'Lease',
  shortNames: [],
  categories: [],
  scope: 'Namespaced',
  builtIn: true,
  createOnUpdate: true,
  statusSubresource: false,
  openApiPackage: 'io.k8s.api.coordination.v1',
  schema: {
    type: 'object',
    description: 'Lease defines a lease concept.',
    properties: {
      spec: {
        type: 'object',
        description: 'Specification of the Lease.',
        properties: {
          holderIdentity: text('The holder of the lease.'),
          leaseDurationSeconds: {
            type: 'integer',
            minimum: 1,
            description: 'Seconds that a candidate waits before it takes the lease.',
          },
          acquireTime: { type: 'string', format: 'date-time', description: 'When the lease was acquired.' },
          renewTime: { type: 'string', format: 'date-time', description: 'When the holder last renewed it.' },
          leaseTransitions: { type: 'integer', minimum: 0, description: 'How often the lease changed hands.' },
        },
      },
    },
  },
  printerColumns: [
    {
      name: 'Holder',
      type: 'string',
      description: 'holderIdentity contains the identity of the holder of a current lease.',
      jsonPath: '.spec.holderIdentity',
    },
    ageColumn,
  ],
  cells: (object, now) => [(object['spec'] as JsonObject | undefined)?.['holderIdentity'] ?? '', age(object, now)],
};

const events: ResourceDefinition = {
  group: '',
  version: 'v1',
  plural: 'events',
  singular: 'event',
  kind: 'Event',
  shortNames: ['ev'],
  categories: [],
  scope: 'Namespaced',
  builtIn: true,
  createOnUpdate: true,
  statusSubresource: false,
  openApiPackage: 'io.k8s.api.core.v1',
  schema: eventSchema,
  printerColumns: eventColumns,
  cells: eventCells,
  selectableFields: eventFields,
  selectableFieldNames: eventFieldNames,
};

const eventsV1: ResourceDefinition = {
  ...events,
  group: 'events.k8s.io',
  openApiPackage: 'io.k8s.api.events.v1',
  schema: eventsV1Schema,
  conversion: eventsV1Conversion,
};

/** In the order of discovery. */
export const coreKinds: readonly ResourceDefinition[] = [configMaps, events, namespaces, secrets, eventsV1, leases];
