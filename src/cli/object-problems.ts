import {
  isLabelValue,
  isNamespaceName,
  isObjectName,
  isQualifiedName,
  keyRule,
  labelValueRule,
  namespaceRule,
  nameRule,
} from './object-name.ts';
import { checkValue } from '../api/check-value.ts';
import { kinds } from '../api/kinds.ts';
import { apiVersion } from '../api/meta.ts';
import { Problems } from '../api/problem.ts';
import { schemas } from '../api/schemas.ts';
import type { InputProblem } from '../base/errors.ts';
import { nearestName } from '../model/nearest.ts';

type Values = Readonly<Record<string, unknown>>;

/**
 * What is wrong with an object of ours by its schema alone, so that nothing of it is dropped on the way to XML. What is
 * not there is not dropped: that a field is required, and the object's
 * rules (which volumes go together, …) are `validate`'s and the API server's.
 */
export function schemaProblems(object: Values): InputProblem[] {
  const head = headProblems(object);
  if (head.length > 0) return head;
  const schema = schemas[String(object['kind'])];
  const problems = new Problems();
  for (const key of Object.keys(object)) {
    if (!topLevel.includes(key)) problems.add(key, 'NotSupported', unknownKey(key, topLevel));
  }
  if (schema !== undefined) checkValue(schema.spec.node, object['spec'] ?? {}, 'spec', problems);
  return [...problems.list.filter(({ reason }) => reason !== 'Required'), ...metadataProblems(object)];
}

const topLevel: readonly string[] = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];

/** What is wrong with an object's apiVersion and kind. */
export function headProblems(
  { apiVersion: version, kind }: Values,
  known: readonly string[] = kinds.map((one) => one.kind),
): InputProblem[] {
  const problems: InputProblem[] = [];
  if (version !== apiVersion) {
    problems.push({ path: 'apiVersion', message: `expected ${apiVersion}, found ${shown(version)}` });
  }
  if (typeof kind !== 'string' || !known.includes(kind)) {
    const near = typeof kind === 'string' ? nearestName(kind, known) : undefined;
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    problems.push({ path: 'kind', message: `expected one of ${known.join(', ')}, found ${shown(kind)}${hint}` });
  }
  return problems;
}

const metadataKeys = [
  ...['name', 'generateName', 'namespace', 'labels', 'annotations', 'finalizers', 'ownerReferences'],
  // What a server writes, and `get -o yaml` shows.
  ...['uid', 'resourceVersion', 'generation', 'creationTimestamp', 'deletionTimestamp', 'deletionGracePeriodSeconds'],
  ...['managedFields', 'selfLink', 'clusterName'],
];

/** What is wrong with an object's metadata, as an API server sees it. */
export function metadataProblems({ metadata }: Values): InputProblem[] {
  if (!isObject(metadata)) return [{ path: 'metadata', message: 'expected an object with a name' }];
  const problems: InputProblem[] = [];
  const { name, generateName, namespace, labels, annotations } = metadata;
  for (const key of Object.keys(metadata)) {
    if (!metadataKeys.includes(key)) problems.push({ path: `metadata.${key}`, message: unknownKey(key, metadataKeys) });
  }
  if (name === undefined ? typeof generateName !== 'string' : !isText(name, isObjectName)) {
    problems.push({ path: 'metadata.name', message: `expected ${nameRule}, found ${shown(name)}` });
  }
  if (namespace !== undefined && !isText(namespace, isNamespaceName)) {
    problems.push({ path: 'metadata.namespace', message: `expected ${namespaceRule}, found ${shown(namespace)}` });
  }
  problems.push(...stringMapProblems(labels, 'metadata.labels', isLabelValue));
  problems.push(...stringMapProblems(annotations, 'metadata.annotations', undefined));
  return problems;
}

function stringMapProblems(
  map: unknown,
  path: string,
  isValue: ((text: string) => boolean) | undefined,
): InputProblem[] {
  if (map === undefined || map === null) return [];
  if (!isObject(map)) return [{ path, message: 'expected an object of strings' }];
  return Object.entries(map).flatMap(([key, value]) => {
    const at = `${path}[${JSON.stringify(key)}]`;
    // The server takes an annotation's key in capitals, too.
    const isKey = isQualifiedName(isValue === undefined ? key.toLowerCase() : key);
    if (!isKey) return [{ path: at, message: `the key is not a name: expected ${keyRule}` }];
    if (typeof value !== 'string') return [{ path: at, message: `expected a string, found ${shown(value)}` }];
    if (isValue?.(value) !== false) return [];
    return [{ path: at, message: `expected ${labelValueRule}, found ${shown(value)}` }];
  });
}

function unknownKey(key: string, known: readonly string[]): string {
  const near = nearestName(key, known);
  return `unknown key${near === undefined ? '' : `; did you mean ${near}?`}`;
}

function isText(value: unknown, holds: (text: string) => boolean): boolean {
  return typeof value === 'string' && holds(value);
}

function shown(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  return typeof value === 'object' ? 'an object' : JSON.stringify(value);
}

function isObject(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
