/** How large an object is as YAML: the measure of its limit, the same for every way it can arrive. */
import { isRecord } from './problem.ts';

const plain = /^[A-Za-z_./][\w./ +-]*$/;

/**
 * The bytes that the block style of kubectl takes: keys as they are, strings quoted where they have to be and several
 * lines as a literal block. An object's `status`, what the server keeps in `metadata`, and kubectl's copy of the object
 * in an annotation do not count.
 */
export function yamlBytes(object: unknown): number {
  return blockBytes(isRecord(object) ? ownParts(object) : object, 0);
}

function ownParts(object: Readonly<Record<string, unknown>>): unknown {
  const { status: _, metadata, ...rest } = object;
  if (!isRecord(metadata)) return { ...rest, metadata };
  const { name, generateName, namespace, labels, annotations, finalizers, ownerReferences } = metadata;
  const own = isRecord(annotations)
    ? Object.entries(annotations).filter(([key]) => key !== 'kubectl.kubernetes.io/last-applied-configuration')
    : [];
  return {
    ...rest,
    metadata: {
      ...{ name, generateName, namespace, labels, finalizers, ownerReferences },
      ...(own.length === 0 ? {} : { annotations: Object.fromEntries(own) }),
    },
  };
}

/** The bytes of a value whose entries begin at a column, with the line breaks at their ends. */
function blockBytes(value: unknown, indent: number): number {
  let bytes = 0;
  if (Array.isArray(value)) {
    for (const item of value as readonly unknown[]) {
      // The first entry of a nested block stands on the dash's line, its indentation being the dash itself.
      bytes += isBlock(item) ? blockBytes(item, indent + 2) : indent + 2 + scalarBytes(item, indent + 2);
    }
    return bytes;
  }
  for (const [key, entry] of Object.entries(value as Readonly<Record<string, unknown>>)) {
    if (entry === undefined) continue;
    bytes += indent + textBytes(key) + 1;
    if (!isBlock(entry)) bytes += 1 + scalarBytes(entry, indent + 2);
    else bytes += 1 + blockBytes(entry, Array.isArray(entry) ? indent : indent + 2);
  }
  return bytes;
}

function isBlock(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return isRecord(value) && Object.values(value).some((entry) => entry !== undefined);
}

/** With the line break. */
function scalarBytes(value: unknown, indent: number): number {
  if (typeof value !== 'string') return (value === undefined ? '{}' : JSON.stringify(value)).length + 1;
  const lines = value.split('\n');
  if (lines.length < 2) return textBytes(value) + 1;
  const filled = lines.filter((line) => line !== '').length;
  return 2 + byteLength(value) + filled * indent + (value.endsWith('\n') ? 0 : 2);
}

function textBytes(text: string): number {
  return byteLength(text) + (plain.test(text) ? 0 : 2);
}

function byteLength(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    // A surrogate pair is two units of UTF-16 and four bytes of UTF-8.
    if (code > 0x7f) bytes += code > 0x7ff && (code < 0xd800 || code > 0xdfff) ? 2 : 1;
  }
  return bytes;
}
