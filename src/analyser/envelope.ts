/** Puts a libvirt document into an object of ours: domain → VirtualMachine `spec.domain`, and so on. */
import { envelopeRows, type EnvelopeKind } from '../model/envelope-kind.ts';
import type { Analysed, OverlayEntry } from './analyse.ts';
import { kubernetesName } from './kubernetes-name.ts';
import { openStackMetadata } from './openstack.ts';

/** One of our objects with a libvirt document. */
export interface EnvelopeObject {
  readonly apiVersion: 'virtctl.dev/v1alpha1';
  readonly kind: EnvelopeKind;
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: Readonly<Record<string, unknown>>;
}

/**
 * The object for a document; undefined for a kind of document that no kind of ours carries.
 *
 * `metadata.name` is libvirt's name made valid; the original stays in the document. Nova's metadata also becomes labels
 * and annotations.
 */
export function toEnvelope(
  document: Pick<Analysed, 'kind' | 'overlay'> & { readonly value: Readonly<Record<string, unknown>> },
): EnvelopeObject | undefined {
  const { kind, value, overlay } = document;
  const row = envelopeRows.find((one) => one.document === kind);
  if (row === undefined) return undefined;
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: row.kind,
    metadata: {
      name: kubernetesName(nameOf(value), row.field),
      ...(row.document === 'domain' ? openStack(value, overlay) : {}),
    },
    spec: {
      ...(row.document === 'domainsnapshot' ? machineOf(value) : {}),
      [row.field]: value,
      ...(overlay.length === 0 ? {} : { overlay }),
    },
  };
}

function nameOf(value: Readonly<Record<string, unknown>>): string {
  const { name, uuid } = value;
  return typeof name === 'string' ? name : typeof uuid === 'string' ? uuid : '';
}

/** The machine of a snapshot, when the snapshot has its domain. */
function machineOf(value: Readonly<Record<string, unknown>>): { virtualMachine?: string } {
  const domain = value['domain'];
  if (typeof domain !== 'object' || domain === null) return {};
  const name = nameOf(domain as Record<string, unknown>);
  return name === '' ? {} : { virtualMachine: kubernetesName(name, 'domain') };
}

function openStack(
  value: Readonly<Record<string, unknown>>,
  overlay: readonly OverlayEntry[],
): { labels?: Readonly<Record<string, string>>; annotations?: Readonly<Record<string, string>> } {
  const pieces = value['metadata'];
  if (!Array.isArray(pieces)) return {};
  const around = overlay.flatMap(({ at, attributes }) =>
    at === '' || at === 'metadata' ? Object.entries(attributes ?? {}) : [],
  );
  const namespaces = Object.fromEntries(
    around.flatMap(([name, uri]) => (name.startsWith('xmlns:') ? [[name.slice(6), uri]] : [])),
  );
  const strings = pieces.filter((piece): piece is string => typeof piece === 'string');
  const { labels, annotations } = openStackMetadata(strings, namespaces);
  return Object.keys(annotations).length === 0 ? {} : { labels, annotations };
}
