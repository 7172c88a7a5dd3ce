/** libvirt documents to test with: the project's own, and libvirt's test corpus where it is at hand. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { corpusFolder } from './libvirt-schemas.ts';

/** A file with its text. */
export interface DocumentFile {
  readonly name: string;
  readonly text: string;
}

/** The project's own documents: small, together with something of every kind. */
export const ownDocuments: readonly DocumentFile[] = read(join(import.meta.dirname, '../fixtures/libvirt'));

/** libvirt's valid test documents; none where the corpus is not at hand. */
export const corpusDocuments: readonly DocumentFile[] = corpus([
  'domain',
  'domainsnapshot',
  'network',
  'storagepool',
  'storagevol',
]);

/** Documents that libvirt's schema refuses; none where the corpus is not at hand. */
export const invalidDocuments: readonly DocumentFile[] = corpus(['invalid']);

/** One of the project's own by name. */
export function ownDocument(name: string): string {
  const found = ownDocuments.find((document) => document.name === name);
  if (found === undefined) throw new Error(`there is no fixture ${name}`);
  return found.text;
}

function corpus(folders: readonly string[]): DocumentFile[] {
  return corpusFolder === undefined ? [] : folders.flatMap((folder) => read(join(corpusFolder ?? '', folder)));
}

function read(folder: string): DocumentFile[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.xml'));
  return names.sort().map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));
}
