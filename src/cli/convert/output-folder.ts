import { mkdirSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, extname, join, resolve, sep } from 'node:path';
import type { Converted, Format } from './convert-document.ts';
import { jsonList } from './printed-documents.ts';
import { ConflictError, FailedError, toError, VirtctlError } from '../../base/errors.ts';
import type { Input } from '../input/list-inputs.ts';

/**
 * A folder that results are written to, each in whole or not at all, each name once. Nothing is written outside of it,
 * also not through links, and no input is replaced.
 */
export class OutputFolder {
  readonly #root: string;
  readonly #inputs: ReadonlySet<string>;
  readonly #taken = new Map<string, string>();
  readonly #checkedFolders = new Set<string>();

  /**
   * @param cwd The folder that a relative `folder` starts from.
   * @param inputs The paths of all files that are read.
   */
  constructor(cwd: string, folder: string, inputs: Iterable<string>) {
    this.#root = resolve(cwd, folder);
    this.#inputs = new Set(inputs);
  }

  /**
   * Writes what an input became under the input's relative name with the new ending: in one file; several XML documents
   * in one file each, numbered, since XML has one root.
   */
  writeAll(input: Input, results: readonly Converted[]): void {
    const [first] = results;
    if (first === undefined) return;
    const name = withoutEnding(input.relative);
    const files =
      first.format === 'xml' && results.length > 1
        ? results.map(({ text }, index) => ({ name: `${name}-${index + 1}.xml`, text }))
        : [{ name: `${name}.${first.format}`, text: together(first.format, results) }];
    // All names are claimed before anything is written.
    const claimed = files.map((file) => ({ path: this.#claim(file.name, input.name), text: file.text }));
    for (const { path, text } of claimed) this.#write(path, text);
  }

  /**
   * Keeps a name for one input.
   *
   * @param name Relative to the folder.
   * @param input Named in the error when another input has the name already.
   * @returns The path to write.
   * @throws ConflictError when it is taken, or is a file that is read.
   */
  #claim(name: string, input: string): string {
    const path = resolve(this.#root, name);
    if (!path.startsWith(this.#root + sep)) {
      throw new FailedError(`${input}: ${name} would be written outside of ${this.#root}`);
    }
    const holder = this.#taken.get(path);
    if (holder !== undefined) {
      throw new ConflictError(`${input}: ${name} is written for ${holder} already`, {
        hint: 'convert them into different folders',
      });
    }
    if (this.#inputs.has(path)) {
      throw new ConflictError(`${input}: ${name} would replace an input`, { hint: 'choose another --output-dir' });
    }
    this.#taken.set(path, input);
    return path;
  }

  /** Writes a claimed path in one step: whoever looks sees the old file, or the whole new one. */
  #write(path: string, text: string): void {
    const folder = dirname(path);
    const temporary = join(folder, `.virtctl-${process.pid}.tmp`);
    try {
      this.#prepare(folder);
      writeFileSync(temporary, text, { flag: 'wx' });
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      if (error instanceof VirtctlError) throw error;
      throw new FailedError(`cannot write ${path}`, { cause: toError(error) });
    }
  }

  #prepare(folder: string): void {
    if (this.#checkedFolders.has(folder)) return;
    mkdirSync(folder, { recursive: true });
    const root = realpathSync(this.#root);
    const real = realpathSync(folder);
    if (real !== root && !real.startsWith(root + sep)) {
      throw new FailedError(`${folder} is a link that leads outside of ${this.#root}`);
    }
    this.#checkedFolders.add(folder);
  }
}

function withoutEnding(name: string): string {
  const ending = extname(name);
  return /^\.(?:xml|ya?ml|json)$/i.test(ending) ? name.slice(0, -ending.length) : name;
}

function together(format: Format, results: readonly Converted[]): string {
  if (format === 'json' && results.length > 1) return jsonList(results.map(({ value }) => value));
  return results.map(({ text }) => text).join(format === 'yaml' ? '---\n' : '');
}
