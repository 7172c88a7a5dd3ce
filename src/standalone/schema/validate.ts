/**
 * Validation by a structural schema, with the words of kube-apiserver (k8s.io/apiextensions-apiserver's use of
 * go-openapi/validate). Every problem is reported, not only the first.
 */
import type { Cause } from '../http/api-error.ts';
import { hasFormat } from './formats.ts';
import type { JsonObject, JsonSchema } from './json-schema.ts';
import { isJsonObject, schemaOfField } from './json-schema.ts';
import { quote, validateListType } from './list-type.ts';

/** Everything in which `object` does not follow `schema`; its apiVersion, kind and metadata are not looked at. */
export function validate(object: JsonObject, schema: JsonSchema): Cause[] {
  const causes: Cause[] = [];
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...rest } = object;
  validateValue(rest, withoutTypeMeta(schema), '', causes);
  return causes;
}

const typeMeta = ['apiVersion', 'kind', 'metadata'];

function withoutTypeMeta(schema: JsonSchema): JsonSchema {
  if (schema.required === undefined) return schema;
  return { ...schema, required: schema.required.filter((key) => !typeMeta.includes(key)) };
}

function bad(path: string, value: string, rule: string): Cause {
  return { reason: 'FieldValueInvalid', message: `Invalid value: ${value}: ${path} in body ${rule}`, field: path };
}

/** JSON's type of a value in the schema's words. */
function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function typeProblem(value: unknown, schema: JsonSchema, path: string): Cause | undefined {
  const found = typeOf(value);
  if (schema['x-kubernetes-int-or-string'] === true) {
    return found === 'integer' || found === 'string'
      ? undefined
      : bad(path, quote(found), `must be of type integer,string: ${quote(found)}`);
  }
  if (schema.type === undefined || found === schema.type) return undefined;
  if (schema.type === 'number' && found === 'integer') return undefined;
  if (found === 'null' && schema.nullable === true) return undefined;
  return bad(path, quote(found), `must be of type ${schema.type}: ${quote(found)}`);
}

function validateValue(value: unknown, schema: JsonSchema, path: string, causes: Cause[]): void {
  const wrongType = typeProblem(value, schema, path);
  if (wrongType !== undefined) {
    causes.push(wrongType);
    return;
  }
  if (typeof value === 'string') validateString(value, schema, path, causes);
  else if (typeof value === 'number') validateNumber(value, schema, path, causes);
  else if (Array.isArray(value)) validateArray(value, schema, path, causes);
  else if (isJsonObject(value)) validateObject(value, schema, path, causes);
  if (schema.enum !== undefined && !schema.enum.some((allowed) => JSON.stringify(allowed) === JSON.stringify(value))) {
    const supported = schema.enum
      .map((word) => (typeof word === 'string' ? quote(word) : JSON.stringify(word)))
      .join(', ');
    causes.push({
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${supported}`,
      field: path,
    });
  }
  validateCombinations(value, schema, path, causes);
}

function validateString(value: string, schema: JsonSchema, path: string, causes: Cause[]): void {
  const length = schema.maxLength === undefined && schema.minLength === undefined ? 0 : codePoints(value);
  if (schema.maxLength !== undefined && length > schema.maxLength) {
    causes.push(bad(path, quote(value), `should be at most ${schema.maxLength} chars long`));
  }
  if (schema.minLength !== undefined && length < schema.minLength) {
    causes.push(bad(path, quote(value), `should be at least ${schema.minLength} chars long`));
  }
  if (schema.pattern !== undefined && !patternOf(schema.pattern).test(value)) {
    causes.push(bad(path, quote(value), `should match '${schema.pattern}'`));
  }
  if (schema.format !== undefined && !hasFormat(value, schema.format)) {
    causes.push(bad(path, quote(value), `must be of type ${schema.format}: ${quote(value)}`));
  }
}

/** Lengths count code points, as Go's utf8.RuneCountInString. */
function codePoints(text: string): number {
  let count = 0;
  for (const _point of text) count++;
  return count;
}

const patterns = new Map<string, RegExp>();

/** Patterns come from definitions, not from requests: the cache is as bounded as they are. */
function patternOf(pattern: string): RegExp {
  let compiled = patterns.get(pattern);
  if (compiled === undefined) patterns.set(pattern, (compiled = new RegExp(pattern, 'u')));
  return compiled;
}

function validateNumber(value: number, schema: JsonSchema, path: string, causes: Cause[]): void {
  const { maximum, minimum, multipleOf } = schema;
  if (maximum !== undefined && (schema.exclusiveMaximum === true ? value >= maximum : value > maximum)) {
    const rule = schema.exclusiveMaximum === true ? 'should be less than' : 'should be less than or equal to';
    causes.push(bad(path, String(value), `${rule} ${maximum}`));
  }
  if (minimum !== undefined && (schema.exclusiveMinimum === true ? value <= minimum : value < minimum)) {
    const rule = schema.exclusiveMinimum === true ? 'should be greater than' : 'should be greater than or equal to';
    causes.push(bad(path, String(value), `${rule} ${minimum}`));
  }
  if (multipleOf !== undefined && !Number.isInteger(value / multipleOf)) {
    causes.push(bad(path, String(value), `should be a multiple of ${multipleOf}`));
  }
}

function validateArray(value: readonly unknown[], schema: JsonSchema, path: string, causes: Cause[]): void {
  if (schema.maxItems !== undefined && value.length > schema.maxItems) {
    causes.push(bad(path, String(value.length), `should have at most ${schema.maxItems} items`));
  }
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    causes.push(bad(path, String(value.length), `should have at least ${schema.minItems} items`));
  }
  validateListType(value, schema, path, causes);
  const { items } = schema;
  if (items === undefined) return;
  value.forEach((item, index) => validateValue(item, items, `${path}[${index}]`, causes));
}

function validateObject(value: JsonObject, schema: JsonSchema, path: string, causes: Cause[]): void {
  const keys = Object.keys(value);
  if (schema.maxProperties !== undefined && keys.length > schema.maxProperties) {
    causes.push(bad(path, String(schema.maxProperties), `should have at most ${schema.maxProperties} properties`));
  }
  if (schema.minProperties !== undefined && keys.length < schema.minProperties) {
    causes.push(bad(path, String(schema.minProperties), `should have at least ${schema.minProperties} properties`));
  }
  for (const key of schema.required ?? []) {
    if (value[key] !== undefined && value[key] !== null) continue;
    if (value[key] === null && schema.properties?.[key]?.nullable === true) continue;
    causes.push({ reason: 'FieldValueRequired', message: 'Required value', field: join(path, key) });
  }
  for (const key of keys) {
    const field = schemaOfField(schema, key);
    // A null field counts as left out.
    if (field !== undefined && value[key] !== null) validateValue(value[key], field, join(path, key), causes);
  }
}

function validateCombinations(value: unknown, schema: JsonSchema, path: string, causes: Cause[]): void {
  const problemsOf = (branch: JsonSchema): Cause[] => {
    const found: Cause[] = [];
    validateValue(value, branch, path, found);
    return found;
  };
  const refuse = (rule: string): void => {
    causes.push({ reason: 'FieldValueInvalid', message: `Invalid value: "": ${quote(path)} ${rule}`, field: '<nil>' });
  };
  for (const branch of schema.allOf ?? []) causes.push(...problemsOf(branch));
  if (schema.anyOf !== undefined && schema['x-kubernetes-int-or-string'] !== true) {
    const results = schema.anyOf.map(problemsOf);
    if (!results.some((found) => found.length === 0)) {
      refuse('must validate at least one schema (anyOf)');
      causes.push(...(results[0] ?? []));
    }
  }
  if (schema.oneOf !== undefined) {
    const results = schema.oneOf.map(problemsOf);
    const valid = results.filter((found) => found.length === 0).length;
    if (valid !== 1) {
      const found = valid === 0 ? 'Found none valid' : `Found ${valid} valid alternatives`;
      refuse(`must validate one and only one schema (oneOf). ${found}`);
      if (valid === 0) causes.push(...(results[0] ?? []));
    }
  }
  if (schema.not !== undefined && problemsOf(schema.not).length === 0) refuse('must not validate the schema (not)');
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
