/** One entry of a cpio archive. Paths are relative, without a leading slash. */
export type CpioEntry =
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly data: Buffer }
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string }
  | { readonly kind: 'character'; readonly path: string; readonly mode: number; readonly device: [number, number] };

/**
 * Writes a cpio archive in the "newc" format that Linux takes as an initramfs (kernel's
 * Documentation/driver-api/early-userspace/buffer-format.rst). Everything belongs to root; needs no rights itself.
 */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.flatMap((entry, index) => record(entry, index + 1));
  parts.push(...record({ kind: 'file', path: 'TRAILER!!!', mode: 0, data: Buffer.alloc(0) }, 0));
  return Buffer.concat(parts);
}

function record(entry: CpioEntry, inode: number): Buffer[] {
  const data = entry.kind === 'file' ? entry.data : Buffer.from(entry.kind === 'symlink' ? entry.target : '');
  const name = Buffer.from(`${entry.path}\0`);
  const [major, minor] = entry.kind === 'character' ? entry.device : [0, 0];
  const fields = [inode, modeOf(entry), 0, 0, 1, 0, data.length, 0, 0, major, minor, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return [header, name, padding(header.length + name.length), data, padding(data.length)];
}

function modeOf(entry: CpioEntry): number {
  switch (entry.kind) {
    case 'file':
      return entry.mode === 0 ? 0 : 0o100000 | entry.mode;
    case 'directory':
      return 0o040000 | entry.mode;
    case 'symlink':
      return 0o120777;
    case 'character':
      return 0o020000 | entry.mode;
  }
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
