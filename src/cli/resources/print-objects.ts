import { UsageError } from '../../base/errors.ts';
import type { KubeObject } from '../../kube/object.ts';
import { writeYaml } from '../yaml/write-yaml.ts';
import { compileExpression, compileTemplate, foundText } from './json-path.ts';
import { printedName, resourceOfObject } from './known-resources.ts';
import { alignColumns } from './print-table.ts';

/** What `-o` asked for. */
export type OutputFormat =
  | { readonly type: 'table'; readonly wide: boolean }
  | { readonly type: 'json' | 'yaml' | 'name' | 'xml' }
  | { readonly type: 'jsonpath'; readonly write: (value: unknown) => string }
  | { readonly type: 'custom-columns'; readonly columns: readonly CustomColumn[] };

interface CustomColumn {
  readonly header: string;
  readonly find: (value: unknown) => unknown[];
}

/** The words of `-o`, for help. */
export const outputWords = 'json|yaml|name|wide|xml|jsonpath=TEMPLATE|custom-columns=HEADER:PATH,…';

/**
 * Reads the value of `-o`.
 *
 * @throws UsageError for a format that there is not, or a template that is not understood.
 */
export function parseOutput(value: string | undefined): OutputFormat {
  if (value === undefined || value === '') return { type: 'table', wide: false };
  if (value === 'wide') return { type: 'table', wide: true };
  if (value === 'json' || value === 'yaml' || value === 'name' || value === 'xml') return { type: value };
  const equals = value.indexOf('=');
  const [format, rest] = equals < 0 ? [value, ''] : [value.slice(0, equals), value.slice(equals + 1)];
  if (format === 'jsonpath') {
    if (rest === '') throw new UsageError("-o jsonpath needs a template, as jsonpath='{.status.phase}'");
    return { type: 'jsonpath', write: compileTemplate(rest) };
  }
  if (format === 'custom-columns') return { type: 'custom-columns', columns: customColumns(rest) };
  throw new UsageError(`-o ${value}: there is no such format`, { hint: `there are ${outputWords}` });
}

function customColumns(spec: string): CustomColumn[] {
  const parts = spec.split(/,(?![^[(]*[\])])/).filter((part) => part !== '');
  if (parts.length === 0)
    throw new UsageError('-o custom-columns needs columns, as NAME:.metadata.name,NODE:.status.nodeName');
  return parts.map((part) => {
    const colon = part.indexOf(':');
    if (colon <= 0 || colon === part.length - 1) {
      throw new UsageError(`-o custom-columns: expected HEADER:PATH, found "${part}"`);
    }
    return { header: part.slice(0, colon), find: compileExpression(part.slice(colon + 1)) };
  });
}

/**
 * Writes objects in a format that is not a table.
 *
 * @param single Exactly one object was asked for by its name: it is written itself, not as a List.
 * @throws InvalidInputError when an object has no libvirt document to write as XML.
 */
export async function writeObjects(
  format: Exclude<OutputFormat, { type: 'table' }>,
  objects: readonly KubeObject[],
  options: { readonly single: boolean; readonly showManagedFields: boolean; readonly headers: boolean },
): Promise<string> {
  const shown = options.showManagedFields ? objects : objects.map(withoutManagedFields);
  const [first] = shown;
  const whole =
    options.single && first !== undefined
      ? first
      : { apiVersion: 'v1', kind: 'List', metadata: { resourceVersion: '', selfLink: '' }, items: shown };
  switch (format.type) {
    case 'json':
      return `${JSON.stringify(whole, undefined, 4)}\n`;
    case 'yaml':
      return writeYaml(whole);
    case 'name':
      return shown.map((object) => `${nameOf(object)}\n`).join('');
    case 'jsonpath':
      return format.write(whole);
    case 'custom-columns':
      return alignColumns([
        ...(options.headers ? [format.columns.map(({ header }) => header)] : []),
        ...shown.map((object) => format.columns.map(({ find }) => customCell(find(object)))),
      ]).text;
    case 'xml':
      return (await Promise.all(shown.map(xmlOf))).join('');
  }
}

/** An object without what only the server needs: kubectl hides it as well. */
export function withoutManagedFields<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** An object's name as commands print it. */
export function nameOf(object: KubeObject): string {
  const resource = resourceOfObject(object);
  const name = object.metadata.name ?? '';
  return resource === undefined ? `${object.kind.toLowerCase()}/${name}` : printedName(resource, name);
}

function customCell(found: readonly unknown[]): string {
  const present = found.filter((value) => value !== undefined && value !== null);
  return present.length === 0 ? '<none>' : present.map(foundText).join(',');
}

/** The XML of an object's libvirt document; what the executor resolves (volumes, interfaces) is not in it. */
async function xmlOf(object: KubeObject): Promise<string> {
  const [{ fromEnvelope }, { render }] = await Promise.all([
    import('../../convertor/envelope.ts'),
    import('../../convertor/render.ts'),
  ]);
  const { kind, value, overlay, path } = fromEnvelope(object);
  const xml = render(kind, value, overlay, { path, overlayPath: 'spec.overlay' });
  return xml.endsWith('\n') ? xml : `${xml}\n`;
}
