import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

/** The import rules of docs/architecture.md: what each folder of src/ may import, beside itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  base: [],
  xml: ['base'],
  model: ['base'],
  analyser: ['xml', 'model', 'base'],
  convertor: ['xml', 'model', 'api', 'base'],
  api: ['model', 'base'],
  kube: ['base'],
  libvirt: ['base'],
  reconcile: ['base', 'kube'],
  executor: ['base', 'xml', 'model', 'analyser', 'convertor', 'api', 'kube', 'libvirt', 'reconcile'],
  controller: ['base', 'xml', 'model', 'analyser', 'convertor', 'api', 'kube', 'libvirt', 'reconcile'],
  scheduler: ['base', 'model', 'api', 'kube', 'reconcile'],
  standalone: ['base', 'model', 'api', 'kube', 'reconcile', 'executor', 'controller', 'scheduler'],
  cli: ['base', 'xml', 'model', 'analyser', 'convertor', 'api', 'kube', 'libvirt'],
  commands: [
    'base',
    'xml',
    'model',
    'analyser',
    'convertor',
    'api',
    'kube',
    'libvirt',
    'reconcile',
    'executor',
    'controller',
    'scheduler',
    'standalone',
    'cli',
  ],
};

/** Pure folders: no input or output, no clock, no process. */
const pure = ['xml', 'model', 'analyser', 'convertor', 'api'];

/** Packages that only one folder may import. */
const onlyImporter: Readonly<Record<string, readonly string[]>> = {
  '@kubernetes/client-node': ['kube'],
  xmlbuilder2: ['convertor'],
  saxes: ['xml'],
  lmdb: ['standalone'],
  commander: ['cli', 'commands'],
  chalk: ['cli', 'commands'],
  ora: ['cli'],
};

const src = resolve(import.meta.dirname, '../src');

interface Import {
  readonly file: string;
  readonly folder: string;
  readonly specifier: string;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\b[^;'"`]*?from\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)|(?:^|\n)import\s*'([^']+)'/g,
  );
  const path = relative(src, file);
  return [...found].map((match) => ({
    file: path,
    folder: path.split('/')[0] ?? '',
    specifier: match[1] ?? match[2] ?? match[3] ?? '',
  }));
}

const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => join(src, file));
const imports = files.flatMap(importsOf);

describe('the architecture', () => {
  it('reads every source file', () => {
    expect(files.length).toBeGreaterThan(5);
    expect(imports.length).toBeGreaterThan(5);
  });

  it('knows every folder of src', () => {
    const folders = new Set(files.map((file) => relative(src, file).split('/')[0]));
    expect([...folders].filter((folder) => !(folder !== undefined && folder in mayImport))).toEqual([]);
  });

  it('imports only what each folder may import', () => {
    const broken = imports.filter(({ file, folder, specifier }) => {
      if (!specifier.startsWith('.')) return false;
      const target = relative(src, resolve(src, dirname(file), specifier)).split('/')[0] ?? '';
      return target !== folder && mayImport[folder]?.includes(target) !== true;
    });
    expect(broken).toEqual([]);
  });

  it('keeps input and output out of the pure folders', () => {
    const broken = imports.filter(({ folder, specifier }) => pure.includes(folder) && specifier.startsWith('node:'));
    expect(broken).toEqual([]);
  });

  it('imports a package with an owner only from its owner', () => {
    const broken = imports.filter(({ folder, specifier }) => {
      const owner = Object.entries(onlyImporter).find(
        ([name]) => specifier === name || specifier.startsWith(`${name}/`),
      );
      return owner !== undefined && !owner[1].includes(folder);
    });
    expect(broken).toEqual([]);
  });

  it('names every file in kebab-case', () => {
    const names = files.map((file) => relative(src, file));
    expect(names.filter((name) => !/^[a-z0-9-]+(\/[a-z0-9-]+)*(\.gen)?\.ts$/.test(name))).toEqual([]);
  });
});
