import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import type { main } from './main.ts';

/** The bundle of main.ts in `dist/`, in ASCII. */
export const programFile = 'program.js';
/** V8's code cache of it, for the Node.js that built it. */
export const codeCacheFile = 'program.cache';

/** A bundle that is compiled but has not run. */
export interface LoadedProgram {
  readonly script: Script;
  /** Runs the bundle's top level. */
  start(require: NodeJS.Require): { readonly main: typeof main };
}

/**
 * Compiles the bundle, with V8's code cache where there is one: without it parsing and compiling take longer than
 * anything else that a short command does. V8 refuses a cache of another version of itself, or of other flags, and
 * compiles as ever.
 *
 * @param folder Where the bundle is.
 */
export function loadProgram(folder: string): LoadedProgram {
  const filename = join(folder, programFile);
  // As Node.js wraps a CommonJS module. One byte a character: ASCII is read and kept without being decoded.
  const source = `(function (exports, require, module) {${readFileSync(filename, 'latin1')}\n})`;
  const cachedData = readCodeCache(join(folder, codeCacheFile));
  const script = new Script(source, { filename, ...(cachedData === undefined ? {} : { cachedData }) });
  return {
    script,
    start(require) {
      const module = { exports: {} };
      const run = script.runInThisContext() as (exports: object, require: NodeJS.Require, module: object) => void;
      run(module.exports, require, module);
      return module.exports as { readonly main: typeof main };
    },
  };
}

function readCodeCache(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
