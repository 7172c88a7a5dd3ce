/** What the rules of each kind share: their input, and checks of names, overlays and references. */
import { fieldAt } from '../model/schema.ts';
import type { DocumentKind } from '../model/document-kind.ts';
import type { Lookup } from './lookup.ts';
import type { KubeObject, OverlayEntry } from './meta.ts';
import { sameJson, type Problems } from './problem.ts';
import { isXmlName, xmlFragmentProblem } from './xml-fragment.ts';

/** What a rule sees. The object's types hold already: rules run only on what its schema accepts. */
export interface RuleInput<T extends KubeObject> {
  readonly object: T;
  /** The object before an update; undefined at creation. */
  readonly old: T | undefined;
  readonly lookup: Lookup | undefined;
  readonly problems: Problems;
}

/** The rules of one kind beyond its schema. */
export type Rules<T extends KubeObject> = (input: RuleInput<T>) => void;

/**
 * libvirt and QEMU make file names of a domain's name and add at most 15 bytes to it (`-swtpm.log.old`); a file name
 * has 255.
 */
export const maxLibvirtNameBytes = 240;

/**
 * Checks a name that libvirt is to hold: no slash (libvirt refuses it), no line break or other control character, not
 * `.` or `..`, and short enough for the files that are named after it.
 */
export function checkLibvirtName(name: string, path: string, problems: Problems): void {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > maxLibvirtNameBytes) {
    problems.add(
      path,
      'TooLong',
      `the name at libvirt, "${name.slice(0, 40)}…", has ${bytes} bytes, at most ${maxLibvirtNameBytes}`,
    );
  }
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[/\u0000-\u001f\u007f]/.test(name)) {
    problems.add(path, 'Invalid', 'libvirt takes no name with a slash, a line break or another control character');
  }
  if (name === '.' || name === '..' || name.trim() === '') problems.add(path, 'Invalid', 'libvirt takes no such name');
}

/** Checks an overlay: paths that the document's schema has, either xml or attributes, well-formed. */
export function checkOverlay(
  kind: DocumentKind,
  overlay: readonly OverlayEntry[] | undefined,
  problems: Problems,
  path = 'spec.overlay',
): void {
  for (const [index, entry] of (overlay ?? []).entries()) {
    const at = `${path}[${index}]`;
    checkOverlayPath(kind, entry.at, `${at}.at`, problems);
    if ((entry.xml === undefined) === (entry.attributes === undefined)) {
      problems.add(at, 'Invalid', 'expected exactly one of xml and attributes');
    }
    const wrong = entry.xml === undefined ? undefined : xmlFragmentProblem(entry.xml);
    if (wrong !== undefined) problems.add(`${at}.xml`, 'Invalid', `is not well-formed: ${wrong}`);
    for (const name of Object.keys(entry.attributes ?? {})) {
      if (!isXmlName(name)) problems.add(`${at}.attributes`, 'Invalid', `"${name}" is not the name of an attribute`);
    }
  }
}

function checkOverlayPath(kind: DocumentKind, at: string, path: string, problems: Problems): void {
  if (at === '') return;
  const keys: string[] = [];
  for (const part of at.split('.')) {
    const match = /^([^[\]]+)(\[(\d+)\])?$/.exec(part);
    if (match?.[1] === undefined) {
      problems.add(path, 'Invalid', `expected a path such as devices.disk[0].driver, found "${at}"`);
      return;
    }
    keys.push(match[1]);
    const field = fieldAt(kind, keys);
    if (field === undefined || field.node === 'attribute') {
      problems.add(path, 'Invalid', `the document has no element ${keys.join('.')}`);
      return;
    }
    if (field.list !== (match[2] !== undefined)) {
      const form = field.list ? `a list: give an index, as ${match[1]}[0]` : 'not a list: it takes no index';
      problems.add(path, 'Invalid', `${keys.join('.')} is ${form}`);
      return;
    }
  }
}

/** Counts which of some members an object has. */
export function presentOf(object: object | undefined, members: readonly string[]): string[] {
  const values = (object ?? {}) as Readonly<Record<string, unknown>>;
  return members.filter((member) => values[member] !== undefined && values[member] !== null);
}

/** Checks that exactly one of some members is there. */
export function checkExactlyOne(object: object, members: readonly string[], path: string, problems: Problems): void {
  const present = presentOf(object, members);
  if (present.length === 0) problems.add(path, 'Required', `expected one of ${members.join(', ')}`);
  else if (present.length > 1) problems.add(path, 'Invalid', `expected only one of ${present.join(' and ')}`);
}

/** Tells when an object that is named does not exist. It is no error: it may come later. */
export function checkReference(
  lookup: Lookup | undefined,
  kind: string,
  namespace: string | undefined,
  name: string | undefined,
  path: string,
  problems: Problems,
): void {
  if (lookup === undefined || name === undefined || lookup.find(kind, namespace, name) !== undefined) return;
  problems.warn(
    path,
    'NotFound',
    `there is no ${kind} "${name}"${namespace === undefined ? '' : ` in ${namespace}`} yet`,
  );
}

/** Refuses a change of members of spec that cannot be changed. A member that was unset may be set unless `strict`. */
export function checkImmutable(
  spec: object,
  old: object | undefined,
  members: readonly string[],
  problems: Problems,
  options: { readonly strict?: boolean } = {},
): void {
  if (old === undefined) return;
  const now = spec as Readonly<Record<string, unknown>>;
  const before = old as Readonly<Record<string, unknown>>;
  for (const member of members) {
    if (sameJson(now[member], before[member])) continue;
    if (options.strict !== true && (before[member] === undefined || before[member] === '')) continue;
    problems.add(`spec.${member}`, 'Forbidden', 'cannot be changed');
  }
}

/** Refuses a `..` in a path of the node, as Kubernetes does for hostPath, and control characters. */
export function checkHostPath(value: string | undefined, path: string, problems: Problems): void {
  if (value === undefined) return;
  if (value.split('/').includes('..')) problems.add(path, 'Invalid', 'must not contain ".."');
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(value)) problems.add(path, 'Invalid', 'must not contain control characters');
}
