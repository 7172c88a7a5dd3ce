/** Names and label values that Kubernetes takes, from any text. */

/** Longest name of an object (RFC 1123 subdomain). */
const maxName = 253;
/** Longest label value. */
const maxLabelValue = 63;

/**
 * A valid object name (RFC 1123 subdomain) from libvirt's, the same for the same name: lower case, other characters as
 * hyphens. One that is cut, or has nothing left, ends in a hash of the original.
 */
export function kubernetesName(original: string, fallback: string): string {
  const name = original
    .toLowerCase()
    .split('.')
    .map((part) => part.replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-|-$/g, ''))
    .filter((part) => part !== '')
    .join('.');
  if (name === '') return original === '' ? fallback : `${fallback}-${hash(original)}`;
  if (name.length <= maxName) return name;
  return `${name.slice(0, maxName - 9).replaceAll(/[-.]+$/g, '')}-${hash(original)}`;
}

/** A valid label value from a text; undefined when nothing of it can stay. */
export function labelValue(original: string): string | undefined {
  const value = original
    .replaceAll(/[^A-Za-z0-9_.-]+/g, '-')
    .replaceAll(/^[^A-Za-z0-9]+/g, '')
    .slice(0, maxLabelValue)
    .replaceAll(/[^A-Za-z0-9]+$/g, '');
  return value === '' ? undefined : value;
}

/** FNV-1a, 32 bits, eight hexadecimal digits. */
function hash(text: string): string {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    state = Math.imul(state ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return state.toString(16).padStart(8, '0');
}
