/** One thing that was measured, ours beside what else could be used for it. */
export interface BenchRow {
  readonly what: string;
  /** Of every number in the row, as `ms`. */
  readonly unit: string;
  /** By contender; the first is the one that the ratios are of. */
  readonly values: Readonly<Record<string, number>>;
  /** What is to be reached, in words. */
  readonly goal?: string;
  /** Whether it was reached in this run. */
  readonly reached?: boolean;
}

/** What a benchmark gives. */
export interface BenchReport {
  readonly title: string;
  readonly rows: readonly BenchRow[];
  /** What a reader has to know to judge the numbers. */
  readonly notes?: readonly string[];
}

/** A report as a table. */
export function formatReport({ title, rows, notes = [] }: BenchReport): string {
  const cells = rows.map(({ what, unit, values, goal = '', reached }) => [
    what,
    Object.entries(values)
      .map(([name, value]) => `${name} ${precise(value)} ${unit}`)
      .join('   '),
    goal,
    reached === undefined ? '' : reached ? 'reached' : 'NOT reached',
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const lines = cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [title, ...lines.map((line) => `  ${line}`), ...notes.map((note) => `  (${note})`)].join('\n');
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}

function precise(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
