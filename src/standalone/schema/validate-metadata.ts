/** Validation of metav1.ObjectMeta, worded as k8s.io/apimachinery/pkg/api/validation. */
import type { Cause } from '../http/api-error.ts';
import type { JsonObject } from './json-schema.ts';
import { isJsonObject, textOf } from './json-schema.ts';

const alphanumericEnds = 'and must start and end with an alphanumeric character';
const subdomain = '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*';
const label = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const namePart = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const labelValue = '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?';
const matches = (pattern: string, text: string): boolean => new RegExp(`^${pattern}$`).test(text);

const subdomainRule = `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', ${alphanumericEnds} (e.g. 'example.com', regex used for validation is '${subdomain}')`;
const labelRule = `a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', ${alphanumericEnds} (e.g. 'my-name',  or '123-abc', regex used for validation is '${label}')`;
const namePartRule = `name part must consist of alphanumeric characters, '-', '_' or '.', ${alphanumericEnds} (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '${namePart}')`;
const labelValueRule = `a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', ${alphanumericEnds} (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '${labelValue}')`;
const maxAnnotationsBytes = 256 * 1024;

function bad(field: string, value: string, rule: string): Cause {
  return { reason: 'FieldValueInvalid', message: `Invalid value: ${JSON.stringify(value)}: ${rule}`, field };
}

/** Problems of a DNS subdomain, or of a DNS label with `asLabel`. */
function nameProblems(name: string, field: string, asLabel: boolean): Cause[] {
  const maxLength = asLabel ? 63 : 253;
  return [
    ...(name.length > maxLength ? [bad(field, name, `must be no more than ${maxLength} characters`)] : []),
    ...(matches(asLabel ? label : subdomain, name) ? [] : [bad(field, name, asLabel ? labelRule : subdomainRule)]),
  ];
}

/** Problems of a label's or an annotation's key. */
export function qualifiedNameProblems(name: string, field: string): Cause[] {
  const parts = name.split('/');
  if (parts.length > 2) {
    return [
      bad(
        field,
        name,
        `a qualified name must consist of alphanumeric characters, '-', '_' or '.', ${alphanumericEnds} (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '${namePart}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
      ),
    ];
  }
  const prefix = parts.length === 2 ? parts[0] : undefined;
  const last = parts.at(-1) ?? '';
  const found: Cause[] = [];
  if (prefix === '') found.push(bad(field, name, 'prefix part must be non-empty'));
  else if (prefix !== undefined) {
    if (prefix.length > 253) found.push(bad(field, name, 'prefix part must be no more than 253 characters'));
    if (!matches(subdomain, prefix)) found.push(bad(field, name, `prefix part ${subdomainRule}`));
  }
  if (last === '') found.push(bad(field, name, 'name part must be non-empty'));
  else if (last.length > 63) found.push(bad(field, name, 'name part must be no more than 63 characters'));
  if (!matches(namePart, last)) found.push(bad(field, name, namePartRule));
  return found;
}

/** Everything that is wrong with an object's metadata. */
export function validateMetadata(metadata: JsonObject, options: { readonly nameIsLabel: boolean }): Cause[] {
  const name = textOf(metadata['name']);
  const found: Cause[] = [];
  const generateName = textOf(metadata['generateName']);
  if (generateName !== '') {
    // A generated name may end in a dash, which the suffix then follows.
    const masked = generateName.endsWith('-') ? `${generateName.slice(0, -1)}a` : generateName;
    const problems = nameProblems(masked, 'metadata.generateName', options.nameIsLabel);
    found.push(
      ...problems.map((cause) => ({
        ...cause,
        message: cause.message.replace(JSON.stringify(masked), JSON.stringify(generateName)),
      })),
    );
  }
  if (name === '') {
    const message = 'Required value: name or generateName is required';
    found.push({ reason: 'FieldValueRequired', message, field: 'metadata.name' });
  } else found.push(...nameProblems(name, 'metadata.name', options.nameIsLabel));
  found.push(...labelProblems(metadata['labels'], 'metadata.labels'));
  found.push(...annotationProblems(metadata['annotations']));
  const finalizers = Array.isArray(metadata['finalizers']) ? (metadata['finalizers'] as unknown[]) : [];
  for (const finalizer of finalizers) found.push(...qualifiedNameProblems(String(finalizer), 'metadata.finalizers'));
  found.push(...ownerProblems(metadata['ownerReferences']));
  return found;
}

function labelProblems(labels: unknown, field: string): Cause[] {
  if (!isJsonObject(labels)) return [];
  return Object.entries(labels).flatMap(([key, value]) => {
    const text = String(value);
    const found = qualifiedNameProblems(key, field);
    if (text.length > 63) found.push(bad(field, text, 'must be no more than 63 characters'));
    if (!matches(labelValue, text)) found.push(bad(field, text, labelValueRule));
    return found;
  });
}

function annotationProblems(annotations: unknown): Cause[] {
  if (!isJsonObject(annotations)) return [];
  const field = 'metadata.annotations';
  const found = Object.keys(annotations).flatMap((key) =>
    qualifiedNameProblems(key.toLowerCase(), field).map((cause) => ({
      ...cause,
      message: cause.message.replace(JSON.stringify(key.toLowerCase()), JSON.stringify(key)),
    })),
  );
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations))
    bytes += Buffer.byteLength(key) + Buffer.byteLength(String(value));
  if (bytes > maxAnnotationsBytes) {
    found.push({
      reason: 'FieldValueTooLong',
      message: `Too long: must have at most ${maxAnnotationsBytes} bytes`,
      field,
    });
  }
  return found;
}

function ownerProblems(references: unknown): Cause[] {
  if (!Array.isArray(references)) return [];
  const field = 'metadata.ownerReferences';
  const found: Cause[] = [];
  let controller: string | undefined;
  for (const reference of references as unknown[]) {
    if (!isJsonObject(reference)) continue;
    const needed = [
      ['apiVersion', 'version must not be empty'],
      ['kind', 'kind must not be empty'],
      ['name', 'name must not be empty'],
      ['uid', 'uid must not be empty'],
    ] as const;
    for (const [key, rule] of needed) {
      if ((reference[key] ?? '') === '') found.push(bad(`${field}.${key}`, '', rule));
    }
    const apiVersion = textOf(reference['apiVersion']);
    if (apiVersion.split('/').length > 2)
      found.push(bad(`${field}.apiVersion`, apiVersion, 'version must not be empty'));
    if (reference['kind'] === 'Event' && (apiVersion === 'v1' || apiVersion.startsWith('events.k8s.io/'))) {
      const rule = `${apiVersion}, Kind=Event is disallowed from being an owner`;
      found.push({
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${JSON.stringify(reference)}: ${rule}`,
        field,
      });
    }
    if (reference['controller'] !== true) continue;
    const name = String(reference['name']);
    if (controller !== undefined) {
      const rule = `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${name}`;
      found.push({
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${JSON.stringify(reference)}: ${rule}`,
        field,
      });
    }
    controller = name;
  }
  return found;
}

/** Fields of metadata that nobody may change. */
export function validateMetadataUpdate(metadata: JsonObject, old: JsonObject): Cause[] {
  const found: Cause[] = [];
  for (const field of ['name', 'namespace', 'uid', 'creationTimestamp'] as const) {
    if (metadata[field] === old[field]) continue;
    found.push(bad(`metadata.${field}`, textOf(metadata[field]), 'field is immutable'));
  }
  if (old['deletionTimestamp'] !== undefined) {
    const before = new Set(Array.isArray(old['finalizers']) ? (old['finalizers'] as unknown[]) : []);
    const added = (Array.isArray(metadata['finalizers']) ? (metadata['finalizers'] as unknown[]) : []).filter(
      (finalizer) => !before.has(finalizer),
    );
    if (added.length > 0) {
      const detail = `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((one) => JSON.stringify(one)).join(', ')}}`;
      found.push({ reason: 'FieldValueForbidden', message: `Forbidden: ${detail}`, field: 'metadata.finalizers' });
    }
  }
  return found;
}
