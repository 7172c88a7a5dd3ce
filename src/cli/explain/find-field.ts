import type { FieldNode } from './field-node.ts';
import { documentNode, kindNode } from './field-node.ts';
import { findKind, kinds } from '../../api/kinds.ts';
import { apiVersion } from '../../api/meta.ts';
import { NotFoundError } from '../../base/errors.ts';
import { documentKinds } from '../../model/document-kind.ts';
import { nearestName } from '../../model/nearest.ts';
import { documentKindOf } from '../convert/libvirt-kinds.ts';

/** A field that a path leads to. */
export interface FoundField {
  /** The kind of ours, or libvirt's document. */
  readonly kind: string;
  /** Of a kind of ours. */
  readonly apiVersion: string | undefined;
  /** Keys from the object's root; a list's ends in `[]`. */
  readonly path: readonly string[];
  readonly node: FieldNode;
}

/**
 * Finds the field that `vm.spec.domain.devices.disk.driver` names: first a kind in any form that kubectl takes, or a
 * libvirt document (`domain.devices.disk`), then keys. Indices of lists may be there and mean nothing.
 *
 * @throws NotFoundError with the nearest name that there is.
 */
export function findField(text: string): FoundField {
  const words = text
    .replaceAll(/\[[^\]]*\]/g, '')
    .split('.')
    .filter((word) => word !== '');
  const [first = '', ...keys] = words;
  const start = findRoot(first);
  let { node } = start;
  const path: string[] = [];
  const walked = [first];
  for (const key of keys) {
    const children = node.children();
    const child = children.get(key) ?? (node.type.startsWith('map[') ? valueOf(node) : undefined);
    if (child === undefined) throw unknownField(key, walked.join('.'), node, children);
    node = child;
    walked.push(key);
    path.push(node.list ? `${key}[]` : key);
  }
  return { kind: start.kind, apiVersion: start.apiVersion, path, node };
}

function findRoot(word: string): Omit<FoundField, 'path'> {
  const kind = findKind(word);
  if (kind !== undefined) return { kind: kind.kind, apiVersion, node: kindNode(kind) };
  const document = documentKindOf(word);
  if (document !== undefined) return { kind: document, apiVersion: undefined, node: documentNode(document) };
  const known = kinds.flatMap((one) => [one.singular, one.plural, ...one.shortNames]);
  const near = nearestName(word, [...known, ...documentKinds]);
  throw new NotFoundError(`there is no kind ${JSON.stringify(word)}`, {
    hint:
      near === undefined
        ? `there are ${kinds.map(({ singular }) => singular).join(', ')}, and libvirt's ${documentKinds.join(', ')}`
        : `did you mean ${near}?`,
  });
}

/** A map takes any key; its values are what the map's type says. */
function valueOf(node: FieldNode): FieldNode {
  return { ...node, type: node.type.replace('map[string]', ''), required: false };
}

function unknownField(key: string, where: string, node: FieldNode, children: ReadonlyMap<string, FieldNode>): Error {
  if (children.size === 0) {
    return new NotFoundError(`${where} is of the type ${node.type} and has no field ${JSON.stringify(key)}`);
  }
  const near = nearestName(key, children.keys());
  const hint =
    near === undefined ? `'virtctl explain ${where}' shows those there are` : `did you mean ${where}.${near}?`;
  return new NotFoundError(`${where} has no field ${JSON.stringify(key)}`, { hint });
}
