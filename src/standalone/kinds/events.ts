/**
 * Events in both their group versions. They are stored as core v1; events.k8s.io/v1 is another view of the same
 * objects, with the conversion of k8s.io/kubernetes/pkg/apis/events.
 */
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';
import { isJsonObject, textOf } from '../schema/json-schema.ts';
import { shortDuration } from '../../base/short-duration.ts';
import type { Conversion, PrinterColumn } from './resource-definition.ts';

const text = (description: string): JsonSchema => ({ type: 'string', description });
const time = (description: string): JsonSchema => ({ type: 'string', format: 'date-time', description });
const reference = (description: string): JsonSchema => ({
  type: 'object',
  description,
  properties: {
    apiVersion: text('API version of the referent.'),
    fieldPath: text('A part of the object.'),
    kind: text('Kind of the referent.'),
    name: text('Name of the referent.'),
    namespace: text('Namespace of the referent.'),
    resourceVersion: text('The version of it.'),
    uid: text('UID of the referent.'),
  },
});
const source: JsonSchema = {
  type: 'object',
  description: 'The component reporting this event.',
  properties: { component: text('Component from which the event is generated.'), host: text('Node name.') },
};
const series: JsonSchema = {
  type: 'object',
  description: 'Data about the series of events that this one stands for.',
  properties: {
    count: { type: 'integer', description: 'How many there were.' },
    lastObservedTime: time('When the last was seen.'),
  },
};

/** core/v1 Event. */
export const eventSchema: JsonSchema = {
  type: 'object',
  description: 'Event is a report of an event somewhere in the cluster.',
  required: ['metadata', 'involvedObject'],
  properties: {
    involvedObject: reference('The object that this event is about.'),
    reason: text('A short, machine understandable word for the reason.'),
    message: text('A human-readable description of the status of this operation.'),
    source,
    firstTimestamp: { ...time('When the event was first recorded.'), nullable: true },
    lastTimestamp: { ...time('When the most recent occurrence was recorded.'), nullable: true },
    count: { type: 'integer', description: 'How often this event has occurred.' },
    type: text('Normal or Warning.'),
    eventTime: { ...time('When this event was first observed.'), nullable: true },
    series,
    action: text('What was done or failed.'),
    related: reference('A second object.'),
    reportingComponent: text('The controller that emitted this event.'),
    reportingInstance: text('The instance of the controller.'),
  },
};

/** events.k8s.io/v1 Event. */
export const eventsV1Schema: JsonSchema = {
  type: 'object',
  description:
    'Event is a report of an event somewhere in the cluster. It generally denotes some state change in the system.',
  properties: {
    eventTime: { ...time('When this event was first observed.'), nullable: true },
    series,
    reportingController: text('The controller that emitted this event.'),
    reportingInstance: text('The instance of the controller.'),
    action: text('What was done or failed.'),
    reason: text('Why the action was taken.'),
    regarding: reference('The object that this event is about.'),
    related: reference('A second object.'),
    note: text('A human-readable description of the status of this operation.'),
    type: text('Normal or Warning.'),
    deprecatedSource: source,
    deprecatedFirstTimestamp: { ...time('As core/v1 firstTimestamp.'), nullable: true },
    deprecatedLastTimestamp: { ...time('As core/v1 lastTimestamp.'), nullable: true },
    deprecatedCount: { type: 'integer', description: 'As core/v1 count.' },
  },
};

const renamed: readonly (readonly [core: string, v1: string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['reportingComponent', 'reportingController'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
];

function rename(object: JsonObject, apiVersion: string, names: ReadonlyMap<string, string>): JsonObject {
  const entries = Object.entries(object).map(([key, value]): [string, unknown] => [names.get(key) ?? key, value]);
  return { ...Object.fromEntries(entries), apiVersion };
}

const toCore = new Map(renamed.map(([core, v1]) => [v1, core]));
const toV1 = new Map(renamed);

export const eventsV1Conversion: Conversion = {
  storage: 'events',
  toStorage: (object) => rename(object, 'v1', toCore),
  fromStorage: (object) => rename(object, 'events.k8s.io/v1', toV1),
};

const involvedFields = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'] as const;

/** The names that `kubectl describe` and `kubectl events` select by. */
export const eventFieldNames: readonly string[] = [
  ...involvedFields.flatMap((field) => [`involvedObject.${field}`, `regarding.${field}`]),
  'reason',
  'reportingComponent',
  'reportingController',
  'source',
  'type',
];

/** The values of {@link eventFieldNames} in a stored event. */
export function eventFields(event: JsonObject): Record<string, string> {
  const involved = isJsonObject(event['involvedObject']) ? event['involvedObject'] : {};
  const from = isJsonObject(event['source']) ? event['source'] : {};
  const reporter = textOf(event['reportingComponent']);
  const fields: Record<string, string> = {
    reason: textOf(event['reason']),
    reportingComponent: reporter,
    reportingController: reporter,
    source: textOf(from['component'] ?? reporter),
    type: textOf(event['type']),
  };
  for (const field of involvedFields) {
    fields[`involvedObject.${field}`] = fields[`regarding.${field}`] = textOf(involved[field]);
  }
  return fields;
}

/** The columns of `kubectl get events`. */
export const eventColumns: readonly PrinterColumn[] = [
  { name: 'Last Seen', type: 'string', description: 'When it was last seen.', jsonPath: '.lastTimestamp' },
  { name: 'Type', type: 'string', description: 'Normal or Warning.', jsonPath: '.type' },
  { name: 'Reason', type: 'string', description: 'Why.', jsonPath: '.reason' },
  { name: 'Object', type: 'string', description: 'The object it is about.', jsonPath: '.involvedObject.name' },
  {
    name: 'Subobject',
    type: 'string',
    priority: 1,
    description: 'A part of the object.',
    jsonPath: '.involvedObject.fieldPath',
  },
  { name: 'Source', type: 'string', priority: 1, description: 'Who reports it.', jsonPath: '.source.component' },
  { name: 'Message', type: 'string', description: 'What happened.', jsonPath: '.message' },
  {
    name: 'First Seen',
    type: 'string',
    priority: 1,
    description: 'When it was first seen.',
    jsonPath: '.firstTimestamp',
  },
  { name: 'Count', type: 'string', priority: 1, description: 'How often.', jsonPath: '.count' },
];

/** The cells of {@link eventColumns} for an event in either version. */
export function eventCells(shown: JsonObject, now: number): unknown[] {
  const event = shown['apiVersion'] === 'v1' ? shown : eventsV1Conversion.toStorage(shown);
  const involved = isJsonObject(event['involvedObject']) ? event['involvedObject'] : {};
  const from = isJsonObject(event['source']) ? event['source'] : {};
  const ofSeries = isJsonObject(event['series']) ? event['series'] : {};
  const ago = (value: unknown): string =>
    typeof value === 'string' ? shortDuration(now - Date.parse(value)) : '<unknown>';
  const first = event['firstTimestamp'] ?? event['eventTime'];
  const last = ofSeries['lastObservedTime'] ?? event['lastTimestamp'] ?? event['eventTime'];
  const component = textOf(from['component'] ?? event['reportingComponent']);
  const host = textOf(from['host'] ?? event['reportingInstance']);
  const count = Number(ofSeries['count'] ?? event['count'] ?? 0);
  return [
    ago(last),
    event['type'] ?? '',
    event['reason'] ?? '',
    `${textOf(involved['kind']).toLowerCase()}/${textOf(involved['name'])}`,
    involved['fieldPath'] ?? '',
    host === '' ? component : `${component}, ${host}`,
    textOf(event['message']).trim(),
    ago(first),
    count === 0 ? 1 : count,
  ];
}
