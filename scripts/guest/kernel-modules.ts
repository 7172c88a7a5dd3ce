import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** A module's name as the kernel sees it: without `.ko`, dashes as underscores. */
const nameOf = (file: string): string => basename(file, '.ko').replaceAll('-', '_');

/**
 * Finds kernel modules and everything that they depend on, in the order in which they have to be inserted.
 *
 * @param folder `lib/modules/VERSION` of an unpacked kernel package. It need not have been through depmod: the
 *   dependencies are read from the modules themselves.
 * @param wanted Names; one that the kernel does not have (built in, or left out) is passed over.
 * @returns Absolute paths, each once.
 */
export async function modulesInOrder(folder: string, wanted: readonly string[]): Promise<string[]> {
  const files = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith('.ko'));
  const byName = new Map(files.map((file) => [nameOf(file), join(folder, file)]));
  const ordered = new Map<string, string>();
  const add = async (name: string): Promise<void> => {
    const path = byName.get(name);
    if (path === undefined || ordered.has(name)) return;
    byName.delete(name);
    for (const dependency of await dependenciesOf(path)) await add(dependency);
    ordered.set(name, path);
  };
  for (const name of wanted) await add(name.replaceAll('-', '_'));
  return [...ordered.values()];
}

async function dependenciesOf(path: string): Promise<string[]> {
  const list = /\0depends=([^\0]*)\0/.exec((await readFile(path)).toString('latin1'))?.[1] ?? '';
  return list
    .split(',')
    .filter((name) => name !== '')
    .map(nameOf);
}
