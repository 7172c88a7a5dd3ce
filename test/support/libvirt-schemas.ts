/* eslint-disable @typescript-eslint/no-deprecated -- RELAX NG leaves a later libxml2; the version is pinned */
/** libvirt's own RELAX NG schemas as an oracle for tests: the 11.3 set beside the project, else the installed one. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RelaxNGValidator, XmlDocument, XmlValidateError } from 'libxml2-wasm';
import { xmlRegisterFsInputProviders } from 'libxml2-wasm/lib/nodejs.mjs';
import type { DocumentKind } from '../../src/model/document-kind.ts';

const beside = join(import.meta.dirname, '../../../shared');
/** libvirt 11.3's schemas, from which the checked-in tables come; undefined where they are not at hand. */
export const schemas113: string | undefined = [join(beside, 'libvirt-schemas-11.3')].find((path) => existsSync(path));
/** The newest schemas at hand; undefined without libvirt. */
export const schemaFolder: string | undefined = [schemas113, '/usr/share/libvirt/schemas'].find(
  (path) => path !== undefined && existsSync(join(path, 'domain.rng')),
);
/** libvirt's own test documents, by kind, where they are at hand. */
export const corpusFolder: string | undefined = [join(beside, 'corpus')].find((path) => existsSync(path));

const validators = new Map<DocumentKind, RelaxNGValidator>();

/** What libvirt's schema finds wrong with a document; empty for a valid one. */
export function schemaErrors(kind: DocumentKind, xml: string): string[] {
  const document = XmlDocument.fromString(xml);
  try {
    validator(kind).validate(document);
    return [];
  } catch (error) {
    if (error instanceof XmlValidateError) return error.details.map(({ message }) => message.trim());
    throw error;
  } finally {
    document.dispose();
  }
}

function validator(kind: DocumentKind): RelaxNGValidator {
  let found = validators.get(kind);
  if (found === undefined) {
    if (schemaFolder === undefined) throw new Error('there are no schemas of libvirt on this machine');
    if (validators.size === 0) xmlRegisterFsInputProviders();
    const path = join(schemaFolder, `${kind}.rng`);
    const schema = XmlDocument.fromBuffer(readFileSync(path), { url: path });
    found = RelaxNGValidator.fromDoc(schema);
    schema.dispose();
    validators.set(kind, found);
  }
  return found;
}
