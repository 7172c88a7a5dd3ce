import { lstatSync, readdirSync, statSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import type { VirtctlError } from '../../base/errors.ts';
import { FailedError, NotFoundError, toError } from '../../base/errors.ts';

/** A file to read. */
export interface Input {
  /** As messages call it; `-` for standard input. */
  readonly name: string;
  /** Where it is; undefined for standard input. */
  readonly path: string | undefined;
  /** Its name below the folder that was given, or its own name: never absolute, never with `..`. */
  readonly relative: string;
}

/** What arguments lead to. */
export interface Inputs {
  readonly inputs: readonly Input[];
  /** One for each argument or folder that cannot be read. */
  readonly errors: readonly VirtctlError[];
}

/** The endings that are read in a folder; a file that is named itself may have any. */
const endings = /\.(?:xml|ya?ml|json)$/i;
/** More files in one call are a mistake (a folder given by accident, a loop in the file system). */
const maxFiles = 1_000_000;

/**
 * Finds the files that arguments name: a file itself, `-` for standard input, in a folder and its folders every `.xml`,
 * `.yaml`, `.yml` and `.json` in the order of names. Hidden files and links to folders are passed over there.
 *
 * @param cwd The folder that relative arguments start from.
 * @param except A folder that is passed over inside of others: the one that results go to.
 */
export function listInputs(args: readonly string[], cwd: string, except?: string): Inputs {
  const passOver = except === undefined ? undefined : resolve(cwd, except);
  const inputs: Input[] = [];
  const errors: VirtctlError[] = [];
  const seen = new Set<string>();
  const add = (input: Input): void => {
    const key = input.path ?? '-';
    if (seen.has(key)) return;
    seen.add(key);
    if (inputs.length >= maxFiles) throw new FailedError(`more than ${maxFiles} files`);
    inputs.push(input);
  };
  for (const argument of args) {
    if (argument === '-') {
      add({ name: '-', path: undefined, relative: 'stdin' });
      continue;
    }
    const path = resolve(cwd, argument);
    try {
      if (!statSync(path).isDirectory()) {
        add({ name: argument, path, relative: basename(path) });
        continue;
      }
      const before = inputs.length;
      walk(path, passOver, (file) =>
        add({ name: join(argument, relative(path, file)), path: file, relative: relative(path, file) }),
      );
      if (inputs.length === before) {
        errors.push(new NotFoundError(`${argument}: no .xml, .yaml, .yml or .json file in this folder`));
      }
    } catch (error) {
      errors.push(readError(argument, error));
    }
  }
  return { inputs, errors };
}

function walk(folder: string, passOver: string | undefined, found: (file: string) => void): void {
  const entries = readdirSync(folder, { withFileTypes: true });
  entries.sort((one, other) => (one.name < other.name ? -1 : 1));
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (path !== passOver) walk(path, passOver, found);
    } else if (endings.test(entry.name) && isFile(path, entry.isSymbolicLink())) found(path);
  }
}

function isFile(path: string, isLink: boolean): boolean {
  if (!isLink) return lstatSync(path).isFile();
  // A dangling link is reported when it is read.
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true;
}

/** The error of a file that cannot be read, in the user's terms. */
export function readError(name: string, thrown: unknown): VirtctlError {
  const error = toError(thrown);
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return new NotFoundError(`${name}: no such file or folder`);
  if (code === 'EISDIR') return new FailedError(`${name}: is a folder`);
  if (code === 'EACCES' || code === 'EPERM') return new FailedError(`${name}: no right to read it`);
  return new FailedError(`cannot read ${name}`, { cause: error });
}
