import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { runProgram } from './run-program.ts';

const cache = resolve(import.meta.dirname, '../../node_modules/.cache/kubectl');

/** Debian's kubectl, unpacked beside the tests and not installed. */
export async function debianKubectl(): Promise<string> {
  const unpacked = join(cache, 'usr/bin/kubectl');
  if (!existsSync(unpacked)) {
    mkdirSync(cache, { recursive: true });
    await runProgram('sh', ['-c', 'cd "$1" && apt-get download -q kubernetes-client', 'sh', cache]);
    const [archive] = readdirSync(cache).filter((name) => name.endsWith('.deb'));
    await runProgram('dpkg-deb', ['-x', join(cache, archive ?? ''), cache]);
  }
  return unpacked;
}

/** The kubectl on the PATH, if there is one. */
export function installedKubectl(): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(':').map((folder) => join(folder, 'kubectl'));
  return onPath.find((file) => existsSync(file));
}
