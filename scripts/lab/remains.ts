import { readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { kill } from './lab-process.ts';

/** In the environment of every process of a lab, with the lab's folder. Guests' processes die with their node's. */
export const labVariable = 'VIRTCTL_LAB';

const patienceMs = 20_000;

/**
 * Removes whatever is left of a lab, whoever was killed before: its processes, found by their environment, with them its
 * namespaces and the mounts and interfaces in these, its control groups, and its folder. Nothing left is no mistake.
 *
 * @returns How many processes were killed.
 * @throws Error when a process does not go away in 20 seconds.
 */
export async function removeRemains(folder: string): Promise<number> {
  const killed = new Set<number>();
  const end = performance.now() + patienceMs;
  for (;;) {
    const left = await processesOf(folder);
    if (left.length === 0) break;
    if (performance.now() > end) throw new Error(`these processes do not end: ${left.join(', ')}`);
    for (const pid of left) {
      killed.add(pid);
      kill(pid, 'SIGKILL');
    }
    await delay(50);
  }
  const groups = await groupsOf(folder);
  for (const path of await groupFolders(groups)) await removeGroup(path);
  await rm(folder, { recursive: true, force: true });
  return killed.size;
}

/** The processes of a lab, but for this one. */
export async function processesOf(folder: string): Promise<number[]> {
  const wanted = `${labVariable}=${folder}`;
  const found: number[] = [];
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const environment = await ifThere(() => readFile(`/proc/${pid}/environ`, 'utf8'));
    // A zombie has none; it is gone as soon as its parent looks.
    if (environment?.split('\0').includes(wanted) === true) found.push(pid);
  }
  return found;
}

async function groupsOf(folder: string): Promise<Set<string>> {
  const nodes = (await ifThere(() => readdir(join(folder, 'nodes')))) ?? [];
  const names = await Promise.all(
    nodes.map((node) => ifThere(() => readFile(join(folder, 'nodes', node, 'group'), 'utf8'))),
  );
  return new Set(names.filter((name) => name !== undefined));
}

/** The control groups of these names below those that this process is in, deepest first. */
async function groupFolders(names: ReadonlySet<string>): Promise<string[]> {
  if (names.size === 0) return [];
  const found: string[] = [];
  const walk = async (path: string, depth: number, inside: boolean): Promise<void> => {
    for (const entry of (await ifThere(() => readdir(path, { withFileTypes: true }))) ?? []) {
      if (!entry.isDirectory()) continue;
      const child = join(path, entry.name);
      const isOurs = inside || names.has(entry.name);
      if (isOurs || depth < 8) await walk(child, depth + 1, isOurs);
      if (isOurs) found.push(child);
    }
  };
  await walk('/sys/fs/cgroup', 0, false);
  return found;
}

/** A group is busy for a moment after its last process ended. */
async function removeGroup(path: string): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    try {
      await rmdir(path);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY') throw error;
    }
    await delay(100);
  }
  throw new Error(`the control group ${path} stays busy`);
}

async function ifThere<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'ENOTDIR' || code === 'EACCES') return undefined;
    throw error;
  }
}
