import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

const prefix = 'virtctl-test-';
const made = new Set<string>();

/**
 * Makes a folder under the system's temporary one. It is removed when this process exits; one that a killed process
 * left behind is removed by the next process that calls this.
 *
 * @param name Part of the folder's name, for people.
 * @param parent Where to make it; the system's temporary folder by default.
 * @returns Its absolute path.
 */
export function makeTestFolder(name: string, parent = tmpdir()): string {
  for (const entry of readdirSync(parent)) {
    const owner = new RegExp(`^${prefix}(\\d+)-`).exec(entry)?.[1];
    if (owner !== undefined && !isAlive(Number(owner))) rmSync(join(parent, entry), { recursive: true, force: true });
  }
  const folder = mkdtempSync(join(parent, `${prefix}${process.pid}-${name}-`));
  if (made.size === 0) {
    process.once('exit', () => {
      for (const one of made) rmSync(one, { recursive: true, force: true });
    });
  }
  made.add(folder);
  return folder;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
