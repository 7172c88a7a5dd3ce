import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileFunction, Script } from 'node:vm';
import type { main } from './main.ts';

/** The modules of main.ts's bundle, CommonJS in ASCII, a file each; those in {@link usualFile} have none. */
export const modulesFolder = 'program';
/** The modules that usual commands need, in one script: an object of functions by file name. */
export const usualFile = 'usual.js';
/** V8's code cache of that script, for the Node.js that built it. */
export const usualCacheFile = 'usual.cache';
/** What a module is compiled with. */
export const moduleParameters = ['exports', 'require', 'module'] as const;

type ModuleFunction = (exports: object, require: (name: string) => unknown, module: { exports: object }) => void;

/** A bundle of which nothing has run. */
export interface LoadedProgram {
  /** Undefined in a bundle that is being made. */
  readonly usual: Script | undefined;
  /** The files of the modules that have run. */
  readonly loaded: ReadonlyMap<string, unknown>;
  /** Runs main.ts's module. */
  readonly start: () => { readonly main: typeof main };
}

/**
 * Prepares the bundle in a folder. Finding and compiling modules takes longer than all that a short command does, so
 * the usual ones are in one script that comes with V8's code cache. V8 refuses a cache of another version of itself, or
 * of other flags, and compiles as ever. The others are compiled when they are first required.
 *
 * @param require For what is not in the bundle: Node.js's own modules, and lmdb.
 */
export function loadProgram(folder: string, require: NodeJS.Require): LoadedProgram {
  const usual = compileUsual(folder);
  const functions = (usual?.runInThisContext() ?? {}) as Readonly<Record<string, ModuleFunction>>;
  const loaded = new Map<string, { exports: object }>();
  const load = (file: string): object => {
    const known = loaded.get(file);
    if (known !== undefined) return known.exports;
    const module = { exports: {} };
    loaded.set(file, module);
    const run = functions[file] ?? compileModule(join(folder, modulesFolder, file));
    run(module.exports, (name) => (name.startsWith('./') ? load(name.slice(2)) : require(name)), module);
    return module.exports;
  };
  return { usual, loaded, start: () => load('main.js') as { readonly main: typeof main } };
}

function compileUsual(folder: string): Script | undefined {
  const filename = join(folder, usualFile);
  const source = readIfThere(filename);
  const cachedData = readIfThere(join(folder, usualCacheFile));
  // One byte a character: ASCII is kept as it is read, without being decoded.
  return source && new Script(source.toString('latin1'), { filename, ...(cachedData && { cachedData }) });
}

function compileModule(filename: string): ModuleFunction {
  return compileFunction(readFileSync(filename, 'latin1'), [...moduleParameters], { filename }) as ModuleFunction;
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
