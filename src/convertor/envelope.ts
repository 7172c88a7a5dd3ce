/** Takes the libvirt document out of an object of ours; the inverse of src/analyser/envelope.ts. */
import { InvalidInputError } from '../base/errors.ts';
import type { DocumentKind } from '../model/document-kind.ts';
import { envelopeRows } from '../model/envelope-kind.ts';
import type { OverlayEntry } from './render.ts';

/** A libvirt document that was in one of our objects, with the paths for problems. */
export interface EnvelopedDocument {
  readonly kind: DocumentKind;
  readonly value: Readonly<Record<string, unknown>>;
  readonly overlay: readonly OverlayEntry[];
  /** Where the value stands: `spec.domain`. */
  readonly path: string;
}

/**
 * The libvirt document in an object of one of our kinds, as it stands there: what becomes devices of its own
 * (`spec.volumes`, `spec.interfaces`) is not in it.
 * @throws InvalidInputError for an object of another kind or without a document
 */
export function fromEnvelope(object: { readonly kind?: unknown; readonly spec?: unknown }): EnvelopedDocument {
  const row = envelopeRows.find((one) => one.kind === object.kind);
  if (row === undefined) {
    const kinds = envelopeRows.map((one) => one.kind).join(', ');
    throw refuse(
      'kind',
      `expected one of ${kinds}, found ${object.kind === undefined ? 'nothing' : JSON.stringify(object.kind)}`,
    );
  }
  const spec = isObject(object.spec) ? object.spec : {};
  const path = `spec.${row.field}`;
  const value = spec[row.field] ?? {};
  const overlay = spec['overlay'] ?? [];
  if (!isObject(value)) throw refuse(path, 'expected an object');
  if (!Array.isArray(overlay)) throw refuse('spec.overlay', 'expected a list');
  return { kind: row.document, value, overlay: overlay as OverlayEntry[], path };
}

function refuse(path: string, message: string): InvalidInputError {
  return new InvalidInputError([{ path, message }]);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
