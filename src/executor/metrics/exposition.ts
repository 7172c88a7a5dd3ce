/**
 * Prometheus' text exposition format, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/): as much of it as the executor needs.
 */

/** Labels of a sample. */
export type Labels = Readonly<Record<string, string>>;

/** One sample. */
export interface Sample {
  readonly labels?: Labels | undefined;
  readonly value: number;
  /** Added to the family's name: `_bucket`, `_sum`, `_count`. */
  readonly suffix?: string | undefined;
}

/** All samples of one name. */
export interface MetricFamily {
  /** In base units, with the unit at its end; counters end in `_total`. */
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly samples: readonly Sample[];
}

/** The text of families; those without samples are left out. */
export function expose(families: readonly MetricFamily[]): string {
  const lines: string[] = [];
  for (const { name, help, type, samples } of families) {
    if (samples.length === 0) continue;
    lines.push(`# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`, `# TYPE ${name} ${type}`);
    for (const { labels = {}, value, suffix = '' } of samples) {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
      lines.push(`${name}${suffix}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${number(value)}`);
    }
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function number(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}

/** Counts, by labels. Bounded: labels beyond `maxSeries` are dropped. */
export class Counter {
  readonly #series = new Map<string, { labels: Labels; value: number }>();
  readonly #max: number;

  constructor(maxSeries = 1000) {
    this.#max = maxSeries;
  }

  add(labels: Labels, by = 1): void {
    const key = JSON.stringify(labels);
    const known = this.#series.get(key);
    if (known !== undefined) known.value += by;
    else if (this.#series.size < this.#max) this.#series.set(key, { labels, value: by });
  }

  samples(): Sample[] {
    return [...this.#series.values()];
  }
}

/** Durations in buckets, by labels. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, { labels: Labels; counts: number[]; sum: number; count: number }>();

  /** @param bounds Upper bounds of the buckets, in seconds, rising. */
  constructor(bounds: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]) {
    this.#bounds = bounds;
  }

  observe(labels: Labels, seconds: number): void {
    const key = JSON.stringify(labels);
    let series = this.#series.get(key);
    if (series === undefined) {
      series = { labels, counts: this.#bounds.map(() => 0), sum: 0, count: 0 };
      this.#series.set(key, series);
    }
    series.sum += seconds;
    series.count += 1;
    for (const [index, bound] of this.#bounds.entries()) {
      if (seconds <= bound) series.counts[index] = (series.counts[index] ?? 0) + 1;
    }
  }

  samples(): Sample[] {
    return [...this.#series.values()].flatMap(({ labels, counts, sum, count }) => [
      ...this.#bounds.map((bound, index) => ({
        labels: { ...labels, le: String(bound) },
        value: counts[index] ?? 0,
        suffix: '_bucket',
      })),
      { labels: { ...labels, le: '+Inf' }, value: count, suffix: '_bucket' },
      { labels, value: sum, suffix: '_sum' },
      { labels, value: count, suffix: '_count' },
    ]);
  }
}
