/**
 * What a YAML scalar without quotes means, exactly as kubectl takes it (sigs.k8s.io/yaml, which is go-yaml v2: YAML 1.1
 * with Go's integer syntax), and which strings must be written with quotes so that no YAML 1.1 reader takes them for
 * something else. Checked against kubectl; see docs/adr/0001-yaml-as-kubectl-reads-it.md.
 */

const words: ReadonlyMap<string, boolean | null> = new Map<string, boolean | null>([
  ...['y', 'Y', 'yes', 'Yes', 'YES', 'on', 'On', 'ON', 'true', 'True', 'TRUE'].map((word) => [word, true] as const),
  ...['n', 'N', 'no', 'No', 'NO', 'off', 'Off', 'OFF', 'false', 'False', 'FALSE'].map((word) => [word, false] as const),
  ...['', '~', 'null', 'Null', 'NULL'].map((word) => [word, null] as const),
]);

const specialFloats: ReadonlyMap<string, number> = new Map([
  ...['.inf', '.Inf', '.INF', '+.inf', '+.Inf', '+.INF'].map((word) => [word, Infinity] as const),
  ...['-.inf', '-.Inf', '-.INF'].map((word) => [word, -Infinity] as const),
  ...['.nan', '.NaN', '.NAN'].map((word) => [word, NaN] as const),
]);

/** Go's `strconv.ParseInt` with base 0: decimal, 0x, 0o, 0b, and a leading 0 for octal. */
const integer = /^([-+]?)(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)$/;
const float = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;

/**
 * Resolves a scalar without quotes and without a tag.
 *
 * @returns null, a boolean, a number or a string. An integer beyond ±(2^53 - 1) is the string of its decimal digits, so
 *   that libvirt's unsigned 64-bit values stay exact (kubectl would round them).
 */
export function resolvePlainScalar(text: string): null | boolean | number | string {
  const word = words.get(text);
  if (word !== undefined) return word;
  const first = text.charCodeAt(0);
  const mayBeNumber = (first >= 0x30 && first <= 0x39) || first === 0x2b || first === 0x2d || first === 0x2e;
  if (!mayBeNumber) return text;
  const special = specialFloats.get(text);
  if (special !== undefined) return special;
  const digits = first === 0x2e ? text : text.replaceAll('_', '');
  const match = integer.exec(digits);
  if (match !== null) return exactInteger(match[1] === '-', match[2] ?? '');
  return float.test(digits) ? Number(digits) : text;
}

function exactInteger(negative: boolean, digits: string): number | string {
  const octal = /^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits;
  const quick = Number(octal);
  if (Number.isSafeInteger(quick)) return negative && quick !== 0 ? -quick : quick;
  return `${negative ? '-' : ''}${BigInt(octal)}`;
}

/** Words that some YAML 1.1 or 1.2 reader resolves, in any case. */
const reservedWord = /^(?:y|n|yes|no|on|off|true|false|null|nil|~|=|<<|[-+]?\.?inf|\.?nan)$/i;
/**
 * Whatever begins like a number, a base-60 number (52:54:00:12:34:56), a date or a dotted float of YAML 1.1's own
 * expressions (https://yaml.org/type/), written a little wider than they are.
 */
const numberLike =
  /^(?:[-+]?[0-9._][0-9._:]*(?:[eE][-+]?[0-9._]+)?|[-+]?0[xXoObB][0-9a-fA-F_]*|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*)$/;
/** Begins with no indicator of YAML and has no character that ends a plain scalar in block context or hides in print. */
const plainCharacters =
  /^[A-Za-z0-9_/.+$^()\u00a1-\u2027\u2030-\ud7ff\ue000-\ufefe\uff00-\ufffd](?:[!-~ \u00a1-\u2027\u2030-\ud7ff\ue000-\ufefe\uff00-\ufffd]|[\ud800-\udbff][\udc00-\udfff])*$/;
/** The strings that fill libvirt's documents: no need to look closer. */
const ordinary = /^[A-Za-z_/][A-Za-z0-9_/.+@%,^-]{3,}$/;
const ordinaryReserved = /^(?:null|true|false)$/i;

/** Whether a string can stand without quotes as a key or a value in block style, for every reader of YAML 1.1. */
export function isPlainSafe(text: string): boolean {
  if (ordinary.test(text)) return !(text.length < 6 && ordinaryReserved.test(text));
  return (
    plainCharacters.test(text) &&
    !reservedWord.test(text) &&
    !numberLike.test(text) &&
    !text.includes(': ') &&
    !text.includes(' #') &&
    !text.endsWith(':') &&
    !text.endsWith(' ') &&
    typeof resolvePlainScalar(text) === 'string'
  );
}
