/** Writes deploy/crds/: the CustomResourceDefinition of every kind as `virtctl crd` prints it. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { customResourceDefinition } from '../src/api/crd.ts';
import { kinds } from '../src/api/kinds.ts';
import { writeYaml } from '../src/cli/yaml/write-yaml.ts';

const folder = new URL('../deploy/crds/', import.meta.url);

/** The files of deploy/crds/ by name. */
export function crdFiles(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const kind of kinds) {
    const crd = customResourceDefinition(kind);
    files.set(`${crd.metadata.name}.yaml`, writeYaml(crd));
  }
  return files;
}

if (process.argv[1] === import.meta.filename) {
  const files = crdFiles();
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(folder)) if (!files.has(name)) await rm(new URL(name, folder));
  for (const [name, text] of files) {
    const path = new URL(name, folder);
    const before = await readFile(path, 'utf8').catch(() => '');
    if (before !== text) await writeFile(path, text);
    console.log(`${name}: ${text.length} bytes of YAML`);
  }
}
