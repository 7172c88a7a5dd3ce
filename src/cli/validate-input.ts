import { readLibvirt } from './convert/libvirt-document.ts';
import { renderLibvirt } from './convert/convert-document.ts';
import type { InputDocument } from './input/read-documents.ts';
import type { SeenObjects } from './seen-objects.ts';
import { isApiObject, validateApiObject, type Valid } from './validate-api-object.ts';
import { InvalidInputError } from '../base/errors.ts';
import type { DocumentKind } from '../model/document-kind.ts';

/**
 * Checks a document against everything that is known without a server: libvirt's schema, the schemas and rules of our
 * kinds.
 *
 * @param kind What a bare document is, when the user says it.
 * @param seen The objects before this one, which it is compared with and added to.
 * @throws InvalidInputError with every problem and its place.
 */
export function validateInput(document: InputDocument, kind?: DocumentKind, seen?: SeenObjects): Valid {
  if (document.format !== 'xml' && isApiObject(document.value)) {
    const valid = validateApiObject(document, document.value, seen?.lookup);
    seen?.add(document.value);
    return valid;
  }
  const source = readLibvirt(document, kind);
  if (source.overlayProblems.length > 0) throw new InvalidInputError(source.overlayProblems);
  // Raw XML of an overlay and of metadata is only looked into here.
  if (document.format !== 'xml') renderLibvirt(document, source);
  const { name } = source.value;
  return { name: typeof name === 'string' ? `${source.kind} ${name}` : source.kind, warnings: [], foreign: false };
}
