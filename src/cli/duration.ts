import { InvalidArgumentError } from 'commander';

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/**
 * Parses a duration as Go and kubectl write it: `30s`, `1m30s`, `1.5h`, `500ms`; a bare number is seconds.
 *
 * @returns Milliseconds.
 * @throws InvalidArgumentError, which commander reports with the flag's name.
 */
export function parseDuration(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) {
    throw new InvalidArgumentError(`"${text}" is not a duration, as 30s, 5m or 1h30m.`);
  }
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (units[unit ?? ''] ?? 0), 0);
}

/** Parses a whole number of seconds, 0 or more; `30s` and `5m` are taken too. */
export function parseSeconds(text: string): number {
  const seconds = parseDuration(text) / 1000;
  if (!Number.isInteger(seconds)) throw new InvalidArgumentError(`"${text}" is not a whole number of seconds.`);
  return seconds;
}
