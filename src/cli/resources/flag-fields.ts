import { UsageError } from '../../base/errors.ts';

/**
 * Reads a flag's value of the form `WORD` or `key=value,key=value,flag`, as virt-install has them. A comma inside a value
 * is written twice.
 *
 * @param flag For messages: `--disk`.
 * @param bareKey The key of a first part without `=`, given that part.
 * @throws UsageError for an unknown key, and for one that is there twice.
 */
export function parseFields<K extends string>(
  flag: string,
  text: string,
  known: readonly K[],
  bareKey: (word: string) => K,
): Partial<Record<K, string>> {
  const fields: Partial<Record<K, string>> = {};
  const parts = text.split(/(?<!,),(?!,)/).map((part) => part.replaceAll(',,', ','));
  for (const [index, part] of parts.entries()) {
    const equals = part.indexOf('=');
    const word = equals < 0 ? part : part.slice(0, equals);
    const isBare = equals < 0 && index === 0 && !(known as readonly string[]).includes(word);
    const key = isBare ? bareKey(word) : known.find((one) => one === word);
    if (key === undefined) {
      throw new UsageError(`${flag} ${text}: there is no "${word}"`, { hint: `there are ${known.join(', ')}` });
    }
    if (fields[key] !== undefined) throw new UsageError(`${flag} ${text}: "${key}" is there twice`);
    fields[key] = isBare ? word : equals < 0 ? 'true' : part.slice(equals + 1);
  }
  return fields;
}

/** A field that is on or off. */
export function booleanField(flag: string, value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined;
  if (/^(true|yes|on)$/.test(value)) return true;
  if (/^(false|no|off)$/.test(value)) return false;
  throw new UsageError(`${flag}: expected true or false, found "${value}"`);
}

/** A field that is a whole number. */
export function integerField(flag: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value);
  throw new UsageError(`${flag}: expected a whole number, found "${value}"`);
}
