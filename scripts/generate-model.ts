/**
 * Generates src/model/*.gen.ts from libvirt's RELAX NG schemas.
 *
 *     npm run generate -- [FOLDER] [--output-dir DIR]
 *
 * FOLDER holds the .rng files (default: /usr/share/libvirt/schemas). The tables that are checked in come from libvirt
 * 11.3; test/model/generator.test.ts proves that they are what this writes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildModel } from './generate-model/model.ts';
import { writeTables } from './generate-model/write-tables.ts';
import { writeTypes } from './generate-model/write-types.ts';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { 'output-dir': { type: 'string' } } });
const folder = positionals[0] ?? '/usr/share/libvirt/schemas';
const output = values['output-dir'] ?? join(import.meta.dirname, '../src/model');
const model = buildModel(folder);
mkdirSync(output, { recursive: true });
writeFileSync(join(output, 'tables.gen.ts'), writeTables(model));
writeFileSync(join(output, 'types.gen.ts'), writeTypes(model));
process.stdout.write(`${model.types.length} types from ${folder} written to ${output}\n`);
