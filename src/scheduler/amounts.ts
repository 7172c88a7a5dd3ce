/** Amounts by resource: `cpu` (CPUs), `memory` and `hugepages-2Mi` (bytes), `domains` (count), `device/NAME` (0 or 1). */
export type Amounts = Readonly<Record<string, number>>;

/** Adds `factor` times `more` to a sum in place. */
export function accumulate(sum: Record<string, number>, more: Amounts, factor: 1 | -1 = 1): void {
  for (const name in more) sum[name] = (sum[name] ?? 0) + factor * (more[name] ?? 0);
}

/** Bytes for people, as `1.5 GiB`. */
export function formatSize(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Math.round(value * 10) / 10} ${units[unit] ?? ''}`;
}
