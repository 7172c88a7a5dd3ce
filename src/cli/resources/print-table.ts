import { shortDuration } from '../../base/short-duration.ts';
import type { KubeObject } from '../../kube/object.ts';
import { compileExpression, foundText } from './json-path.ts';
import type { KnownResource } from './known-resources.ts';

/** meta.k8s.io/v1 Table, as far as it is printed. */
export interface Table {
  readonly kind: 'Table';
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly columnDefinitions:
    readonly { readonly name: string; readonly priority?: number; readonly type?: string }[] | null;
  readonly rows: readonly TableRow[] | null;
}

/** One row of a {@link Table}. */
export interface TableRow {
  readonly cells: readonly unknown[];
  readonly object?: Pick<KubeObject, 'metadata'>;
}

/** How tables are printed. */
export interface TableOptions {
  /** `-o wide`: columns of a lower priority too. */
  readonly wide: boolean;
  readonly headers: boolean;
  /** `-A`: the namespace as the first column. */
  readonly withNamespace: boolean;
  /** `kind.group/` before each name, for several kinds in one output. */
  readonly namePrefix: string;
  readonly showLabels: boolean;
  /** `-L`: labels that get a column. */
  readonly labelColumns: readonly string[];
}

/** Lines of cells for a table, the header first unless it is not wanted. */
export function tableLines(table: Table, options: TableOptions): string[][] {
  const columns = (table.columnDefinitions ?? []).map((column, index) => ({ ...column, index }));
  const shown = columns.filter((column) => options.wide || (column.priority ?? 0) === 0);
  const header = [
    ...(options.withNamespace ? ['NAMESPACE'] : []),
    ...shown.map((column) => column.name.toUpperCase()),
    ...options.labelColumns.map((label) => (label.split('/').at(-1) ?? label).toUpperCase()),
    ...(options.showLabels ? ['LABELS'] : []),
  ];
  const rows = (table.rows ?? []).map((row) => {
    const { namespace = '', labels = {} } = row.object?.metadata ?? {};
    return [
      ...(options.withNamespace ? [namespace] : []),
      ...shown.map(({ index, name }) => (name === 'Name' ? options.namePrefix : '') + cellText(row.cells[index])),
      ...options.labelColumns.map((label) => labels[label] ?? ''),
      ...(options.showLabels ? [labelText(labels)] : []),
    ];
  });
  return options.headers ? [header, ...rows] : rows;
}

/** Labels as `-o wide` and describe write them. */
export function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? '<none>' : pairs.join(',');
}

/** One line at most: what a server or a guest says must not look like another row, nor steer the terminal. */
function cellText(cell: unknown): string {
  if (cell === null || cell === undefined) return '';
  const text = typeof cell === 'string' ? cell : JSON.stringify(cell);
  const end = text.search(/[\n\r\f]/);
  // eslint-disable-next-line no-control-regex -- control characters are what is taken out
  return (end < 0 ? text : `${text.slice(0, end)}...`).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}

/**
 * Writes lines in columns, three spaces apart, as kubectl does.
 *
 * @param minimum Widths that columns have at least: those of lines printed before.
 * @returns The text and the widths.
 */
export function alignColumns(
  lines: readonly (readonly string[])[],
  minimum: readonly number[] = [],
): { readonly text: string; readonly widths: readonly number[] } {
  const widths = [...minimum];
  for (const line of lines) {
    for (const [index, cell] of line.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  }
  const text = lines
    .map((line) => line.map((cell, index) => cell.padEnd((widths[index] ?? 0) + 3)).join(''))
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
  return { text, widths };
}

/** A table of objects by the resource's own columns, where the server's table cannot be had (a watch). */
export function tableOfObjects(resource: KnownResource, objects: readonly KubeObject[], nowMs: number): Table {
  const finders = resource.columns.map((column) => ({ column, find: compileExpression(column.jsonPath) }));
  return {
    kind: 'Table',
    columnDefinitions: [
      { name: 'Name' },
      ...resource.columns.map(({ name, priority }) => ({ name, priority: priority ?? 0 })),
    ],
    rows: objects.map((object) => ({
      object,
      cells: [
        object.metadata.name ?? '',
        ...finders.map(({ column, find }) => {
          const found = find(object).filter((value) => value !== null && value !== undefined);
          if (column.type !== 'date') return found.map(foundText).join(',');
          return typeof found[0] === 'string' ? shortDuration(nowMs - Date.parse(found[0])) : '';
        }),
      ],
    })),
  };
}
