import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runProgram } from '../support/run-program.ts';
import { virshRows } from '../support/virsh-rows.ts';

const rows = virshRows(readFileSync(join(import.meta.dirname, '../../docs/parity.md'), 'utf8'));

it.each(['volume', 'pool', 'network', 'snapshot'])(
  'docs/parity.md has every verb of `virsh help %s`',
  async (family) => {
    const help = await runProgram('virsh', ['help', family]);
    const verbs = [...help.matchAll(/^ {4}([a-z][a-z-]+) /gm)].map(([, verb]) => verb);
    expect(verbs.length).toBeGreaterThan(8);
    const known = new Set(rows.map(({ verb }) => verb));
    expect(verbs.filter((verb) => verb !== undefined && !known.has(verb))).toEqual([]);
  },
);
