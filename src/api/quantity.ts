/** Kubernetes' quantities (k8s.io/apimachinery/pkg/api/resource), as far as sizes and counts need them. */

/** What the API server accepts as a quantity. */
export const quantityPattern =
  '^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$';

const binary = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'] as const;
const factors: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

const parts = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([a-zA-Z]{0,2}))$/;

/**
 * The value of a quantity: bytes for a size, CPUs for a CPU count.
 *
 * @returns `undefined` when it is none. Exact up to 2^53.
 */
export function parseQuantity(text: string | number): number | undefined {
  if (typeof text === 'number') return Number.isFinite(text) ? text : undefined;
  const match = parts.exec(text);
  if (match?.[1] === undefined) return undefined;
  const [, digits, exponent, suffix = ''] = match;
  if (exponent !== undefined) return Number(`${digits}${exponent}`);
  const factor = suffix === '' ? 1 : Object.hasOwn(factors, suffix) ? factors[suffix] : undefined;
  return factor === undefined ? undefined : Number(digits) * factor;
}

/** Writes a number of bytes as the largest binary unit that divides it: 10737418240 → `10Gi`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = '';
  for (const next of binary) {
    if (value === 0 || value % 1024 !== 0) break;
    value /= 1024;
    unit = next;
  }
  return `${value}${unit}`;
}

/** Writes a number of bytes for people, rounded: 1610612736 → `1.5Gi`. */
export function formatBytesRounded(bytes: number): string {
  let value = bytes;
  let unit = '';
  for (const next of binary) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${value >= 10 || Number.isInteger(value) ? Math.round(value) : Math.round(value * 10) / 10}${unit}`;
}

/** Reads a whole number as strconv.ParseInt does in base 10 with 64 bits; undefined for anything else. */
export function parseInt64(text: string | undefined): bigint | undefined {
  if (text === undefined || !/^[+-]?[0-9]+$/.test(text)) return undefined;
  const digits = text.replace(/^[+-]?0*/, '');
  if (digits.length > 19) return undefined;
  const value = BigInt(`0${digits}`) * (text.startsWith('-') ? -1n : 1n);
  return BigInt.asIntN(64, value) === value ? value : undefined;
}
