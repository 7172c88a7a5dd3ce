/** The licences of the packages that a bundle holds: most ask that their text goes with every copy. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

/**
 * One text with each bundled package's name, version and licence text, by name.
 *
 * @param metafile What esbuild read for the bundle, with paths relative to `root`.
 * @throws Error for a package that has neither a licence file nor names a licence.
 */
export async function thirdPartyLicenses(metafile: Metafile, root: string): Promise<string> {
  const folders = new Set<string>();
  for (const path of Object.keys(metafile.inputs)) {
    const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0];
    if (folder !== undefined) folders.add(folder);
  }
  const texts = await Promise.all([...folders].sort().map((folder) => licenseOf(join(root, folder))));
  return `virtctl's bundle holds these packages.\n\n${[...new Set(texts)].join('\n')}`;
}

async function licenseOf(folder: string): Promise<string> {
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
    license?: string;
  };
  const names = (await readdir(folder)).filter((name) => /^(licen[cs]e|copying|notice)/i.test(name)).sort();
  if (names.length === 0 && manifest.license === undefined) throw new Error(`${manifest.name} names no licence`);
  const files = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  const title = `${manifest.name} ${manifest.version} (${manifest.license ?? 'see below'})`;
  return [title, '-'.repeat(title.length), ...files.map((text) => text.trim()), ''].join('\n');
}
