import { UsageError } from '../../base/errors.ts';
import type { DocumentKind } from '../../model/document-kind.ts';
import { documentKinds } from '../../model/document-kind.ts';
import { envelopeRows } from '../../model/envelope-kind.ts';
import { nearestName } from '../../model/nearest.ts';
import { kindOfRootElement, rootElement, rootType } from '../../model/schema.ts';
import { validateDocument } from '../../model/validate.ts';

/** What a word names as a document kind: libvirt's name, the root element's, or that of our kind. */
export function documentKindOf(word: string): DocumentKind | undefined {
  return (
    documentKinds.find((kind) => kind === word) ??
    kindOfRootElement(word) ??
    envelopeRows.find(({ kind }) => kind.toLowerCase() === word.toLowerCase())?.document
  );
}

/** The document kind that a word of a flag names. */
export function requireDocumentKind(word: string): DocumentKind {
  const kind = documentKindOf(word);
  if (kind !== undefined) return kind;
  const near = nearestName(word, documentKinds);
  throw new UsageError(`there is no document kind ${JSON.stringify(word)}`, {
    hint: near === undefined ? `there are ${documentKinds.join(', ')}` : `did you mean ${near}?`,
  });
}

/** The document kinds that the keys of a value without an envelope fit, best first; several when nothing decides. */
export function guessKinds(value: Readonly<Record<string, unknown>>): DocumentKind[] {
  const keys = Object.keys(value);
  const scored = documentKinds
    .map((kind) => ({ kind, known: keys.filter((key) => rootType(kind).fields.has(key)).length }))
    .filter(({ known }) => known > 0);
  const most = Math.max(0, ...scored.map(({ known }) => known));
  const best = scored.filter(({ known }) => known === most).map(({ kind }) => kind);
  if (best.length < 2) return best;
  const valid = best.filter((kind) => validateDocument(kind, value).length === 0);
  const fitting = valid.length > 0 ? valid : best;
  if (fitting.length < 2) return fitting;
  const complete = fitting.filter((kind) =>
    [...rootType(kind).fields.values()].every(({ required, key }) => !required || key in value),
  );
  return complete.length === 1 ? complete : fitting;
}

/** The key of a document that stands alone, with nothing around it but that key: its root element's name. */
export function loneKey(kind: DocumentKind): string {
  return rootElement(kind);
}
