/**
 * Values of this layer. libvirt's 64-bit numbers become JavaScript's: beyond 2^53 (nine petabytes; a hundred days of
 * processor time in nanoseconds) the last digits are rounded. Whoever needs them exactly calls the procedure itself.
 */
import { typedParametersToObject, type TypedParameter } from '../typed-parameter.ts';

/** A typed parameter's value. */
export type Value = string | number | boolean;

/** Typed parameters by libvirt's names. */
export type Values = Readonly<Record<string, Value>>;

/** Typed parameters as an object. */
export function valuesOf(parameters: readonly TypedParameter[]): Record<string, Value> {
  const entries = Object.entries(typedParametersToObject(parameters));
  return Object.fromEntries(
    entries.map(([name, value]) => [name, typeof value === 'bigint' ? Number(value) : value] as const),
  );
}

/** The word at an index of a libvirt enumeration; `unknown` for what a newer libvirt added. */
export function wordAt<Word extends string>(words: readonly Word[], index: number): Word | 'unknown' {
  return words[index] ?? 'unknown';
}

/** The index of a word in a libvirt enumeration. */
export function indexOf<Word extends string>(words: readonly Word[], word: Word): number {
  return words.indexOf(word);
}

/** A set of processors as libvirt's bitmap, lowest processor in the lowest bit. */
export function cpuMapOf(processors: readonly number[]): Uint8Array {
  const map = new Uint8Array(Math.floor(Math.max(0, ...processors) / 8) + 1);
  for (const processor of processors) map[processor >> 3] = (map[processor >> 3] ?? 0) | (1 << (processor & 7));
  return map;
}

/** The processors of a bitmap. */
export function processorsOf(map: Uint8Array): number[] {
  const found: number[] = [];
  for (let at = 0; at < map.length * 8; at += 1) if (((map[at >> 3] ?? 0) & (1 << (at & 7))) !== 0) found.push(at);
  return found;
}
