/**
 * Fields of our kinds and of libvirt's documents as one tree, for `virtctl explain` and the field reference: the API's
 * own fields from src/api, and below `spec.domain` and its like libvirt's schema from src/model.
 */
import { apiVersion } from '../../api/meta.ts';
import type { KindInfo } from '../../api/kinds.ts';
import type { Node } from '../../api/schema.ts';
import { schemas } from '../../api/schemas.ts';
import { FailedError } from '../../base/errors.ts';
import type { DocumentKind } from '../../model/document-kind.ts';
import type { FieldExplanation } from '../../model/explain.ts';
import { explainField } from '../../model/explain.ts';
import { fieldAt, rootType } from '../../model/schema.ts';

/** A field. */
export interface FieldNode {
  /** In kubectl's manner: `string`, `Object`, `[]Object`, `map[string]string`. */
  readonly type: string;
  readonly list: boolean;
  readonly required: boolean;
  readonly description: string;
  readonly enum?: readonly string[] | undefined;
  readonly pattern?: string | undefined;
  readonly min?: string | undefined;
  readonly max?: string | undefined;
  readonly default?: string | undefined;
  /** Where libvirt describes it. */
  readonly link?: string | undefined;
  /** What the field's schema is called, where it may stand inside itself; ends the walk of `--recursive`. */
  readonly id?: string | undefined;
  /** The libvirt document, or the element of it at some keys, that this is. */
  readonly document?: { readonly kind: DocumentKind; readonly at: readonly string[] } | undefined;
  /** The fields inside by key. Made when asked for: the schema is large and has cycles. */
  readonly children: () => ReadonlyMap<string, FieldNode>;
}

const noChildren: ReadonlyMap<string, FieldNode> = new Map();

/** A kind of ours with all its fields. */
export function kindNode(kind: KindInfo): FieldNode {
  const schema = schemas[kind.kind];
  if (schema === undefined) throw new FailedError(`the kind ${kind.kind} has no schema`);
  const children = new Map<string, FieldNode>([
    ['apiVersion', leaf('string', `Always ${apiVersion}.`, true)],
    ['kind', leaf('string', `Always ${kind.kind}.`, true)],
    ['metadata', metadataNode()],
    ['spec', apiNode(schema.spec.node, schema.specRequired)],
    ['status', apiNode(schema.status.node, false)],
  ]);
  return { type: 'Object', list: false, required: true, description: kind.description, children: () => children };
}

/** A libvirt document, or a field of it at a path of keys. */
export function documentNode(kind: DocumentKind, path: readonly string[] = []): FieldNode {
  const explained = explainField(kind, path);
  if (explained === undefined) throw new FailedError(`the schema of ${kind} has no ${path.join('.')}`);
  return fromModel(kind, path, explained);
}

function fromModel(kind: DocumentKind, path: readonly string[], explained: FieldExplanation): FieldNode {
  const { type, list, required, description, pattern, min, max, link } = explained;
  const id = path.length === 0 ? rootType(kind).id : fieldAt(kind, path)?.type?.id;
  return {
    ...{ type, list, required, description, pattern, min, max, link },
    enum: explained.enum,
    id,
    document: isWholeDomain(kind, path) ? { kind: 'domain', at: [] } : undefined,
    children: () => new Map(explained.fields.map(({ key }) => [key, documentNode(kind, [...path, key])])),
  };
}

/** Snapshots and checkpoints have whole domains inside. */
function isWholeDomain(kind: DocumentKind, path: readonly string[]): boolean {
  const [key, ...rest] = path;
  return kind !== 'domain' && rest.length === 0 && (key === 'domain' || key === 'inactiveDomain');
}

function apiNode(node: Node, required: boolean): FieldNode {
  const { description } = node;
  switch (node.type) {
    case 'string':
      return {
        ...leaf('string', description, required),
        enum: node.words,
        pattern: node.pattern,
        default: node.default,
      };
    case 'integer':
      return {
        ...leaf('integer', description, required),
        min: node.min?.toString(),
        max: node.max?.toString(),
        default: node.default?.toString(),
      };
    case 'boolean':
      return { ...leaf('boolean', description, required), default: node.default?.toString() };
    case 'quantity':
      return leaf('quantity', description, required);
    case 'list': {
      const item = apiNode(node.item, false);
      return { ...item, type: `[]${item.type}`, list: true, required, description, id: undefined };
    }
    case 'map': {
      const item = apiNode(node.item, false);
      return { ...leaf(`map[string]${item.type}`, description, required), children: item.children };
    }
    case 'object': {
      const fields = Object.entries(node.fields);
      return {
        ...leaf('Object', description, required),
        children: () => new Map(fields.map(([key, field]) => [key, apiNode(field, node.required.includes(key))])),
      };
    }
    case 'document':
      return {
        ...documentNode(node.document, node.at),
        ...{ description, required, document: { kind: node.document, at: node.at } },
      };
  }
}

function metadataNode(): FieldNode {
  const children = new Map([
    ['name', leaf('string', 'The name, unique in the namespace: lower-case letters, digits, "-" and ".".', true)],
    ['namespace', leaf('string', 'The namespace; the one of the kubeconfig when empty.', false)],
    ['labels', leaf('map[string]string', 'Words to select objects by.', false)],
    ['annotations', leaf('map[string]string', 'Notes of any kind, not to select by.', false)],
  ]);
  const description = "Kubernetes' ObjectMeta. Only what users set is shown here.";
  return { ...leaf('ObjectMeta', description, true), children: () => children };
}

function leaf(type: string, description: string, required: boolean): FieldNode {
  return { type, list: false, required, description, children: () => noChildren };
}
