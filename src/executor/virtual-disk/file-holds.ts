/**
 * Who works on a disk's file on this node while no guest has it: whoever resizes or copies it, and the start of a machine,
 * which ends with QEMU's own lock. Without it a start fails for good with "Failed to get "write" lock" because the disk is
 * being resized at that moment. It is kept in memory: work ends with the process that does it, or with its connection.
 */
import { isList, memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';

/** What is done with a file meanwhile. */
export type FileUse = 'read' | 'write';

/** Files by path. */
export type FileUses = ReadonlyMap<string, FileUse>;

/** Either the files are held until `release`, or somebody has one of them: what `busy` says is done with it. */
export type FileHold =
  { readonly busy?: undefined; readonly release: () => void } | { readonly busy: string; readonly release?: undefined };

/** See the head of this file. */
export class FileHolds {
  readonly #held = new Map<string, Set<{ readonly use: FileUse; readonly what: string }>>();

  /**
   * Holds all of the files, or none.
   *
   * @param what What is done with them, for those who have to wait: "VirtualDisk "a" is being resized".
   */
  take(files: FileUses, what: string): FileHold {
    for (const [path, use] of files) {
      for (const other of this.#held.get(path) ?? []) {
        if (use === 'write' || other.use === 'write') return { busy: other.what };
      }
    }
    const own = [...files].map(([path, use]) => ({ path, entry: { use, what } }));
    for (const { path, entry } of own) this.#held.set(path, (this.#held.get(path) ?? new Set()).add(entry));
    return {
      release: () => {
        for (const { path, entry } of own) {
          const entries = this.#held.get(path);
          entries?.delete(entry);
          if (entries?.size === 0) this.#held.delete(path);
        }
      },
    };
  }
}

/** The files that a domain's disks open when it starts. */
export function filesOf(domain: DataObject | undefined): FileUses {
  const uses = new Map<string, FileUse>();
  const disks = memberAt(domain, 'devices', 'disk');
  for (const disk of isList(disks) ? disks : []) {
    const use = memberAt(disk, 'readonly') === undefined ? 'write' : 'read';
    for (const key of ['file', 'dev']) {
      const path = textOf(memberAt(disk, 'source', key));
      if (path !== '' && uses.get(path) !== 'write') uses.set(path, use);
    }
  }
  return uses;
}
