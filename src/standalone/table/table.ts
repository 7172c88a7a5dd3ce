/** meta.k8s.io/v1 Table: what `kubectl get` asks for, so that the server decides on the columns. */
import { objectMetaSchema } from '../kinds/object-meta.ts';
import type { PrinterColumn, ResourceDefinition } from '../kinds/resource-definition.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { shortDuration } from '../../base/short-duration.ts';
import { compileJsonPath } from './json-path.ts';

/** What of each object a row carries. */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

/** A definition's columns and how its rows are made. */
export interface TableWriter {
  readonly columnDefinitions: readonly JsonObject[];
  readonly row: (object: JsonObject, include: IncludeObject, now: number) => JsonObject;
}

const createdColumn: PrinterColumn = {
  name: 'Age',
  type: 'date',
  description:
    'CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata',
  jsonPath: '.metadata.creationTimestamp',
};

const writers = new WeakMap<ResourceDefinition, TableWriter>();

/** The table writer of a definition. */
export function tableWriter(definition: ResourceDefinition): TableWriter {
  let writer = writers.get(definition);
  if (writer === undefined) writers.set(definition, (writer = makeWriter(definition)));
  return writer;
}

function makeWriter(definition: ResourceDefinition): TableWriter {
  const columns = definition.printerColumns.length === 0 ? [createdColumn] : definition.printerColumns;
  const cells = definition.cells ?? columnCells(columns);
  const atEnd = definition.kind === 'Event';
  const name: JsonObject = {
    name: 'Name',
    type: 'string',
    format: 'name',
    description: objectMetaSchema.properties?.['name']?.description ?? '',
    priority: atEnd ? 1 : 0,
  };
  const others = columns.map((column) => ({
    name: column.name,
    type: column.type,
    format: column.format ?? '',
    description: column.description ?? `Custom resource definition column (in JSONPath format): ${column.jsonPath}`,
    priority: column.priority ?? 0,
  }));
  return {
    columnDefinitions: atEnd ? [...others, name] : [name, ...others],
    row(object, include, now) {
      const own = cells(object, now);
      const metadata = object['metadata'] as JsonObject;
      const row: JsonObject = { cells: atEnd ? [...own, metadata['name']] : [metadata['name'], ...own] };
      if (include === 'Object') row['object'] = object;
      if (include === 'Metadata') row['object'] = partialMetadata(object);
      return row;
    },
  };
}

function columnCells(columns: readonly PrinterColumn[]): (object: JsonObject, now: number) => unknown[] {
  const paths = columns.map((column) => ({ column, find: compileJsonPath(column.jsonPath) }));
  return (object, now) => paths.map(({ column, find }) => cellOf(column, find(object), now));
}

/** A column's value as kube-apiserver's tableconvertor gives it: null when there is none. */
function cellOf(column: PrinterColumn, found: readonly unknown[], now: number): unknown {
  const value = found[0];
  if (value === undefined || value === null) return null;
  switch (column.type) {
    case 'integer':
      return typeof value === 'number'
        ? Math.trunc(value)
        : typeof value === 'string' && /^-?\d+$/.test(value)
          ? Number(value)
          : null;
    case 'number':
      return typeof value === 'number' ? value : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    case 'date':
      return typeof value === 'string' ? shortDuration(now - Date.parse(value)) : null;
    default:
      return found.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join(',');
  }
}

/** meta.k8s.io/v1 PartialObjectMetadata of an object. */
export function partialMetadata(object: JsonObject): JsonObject {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object['metadata'] };
}

/** A table of rows. */
export function table(
  writer: TableWriter,
  rows: readonly JsonObject[],
  metadata: JsonObject,
  withColumns = true,
): JsonObject {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: withColumns ? writer.columnDefinitions : null,
    rows,
  };
}
