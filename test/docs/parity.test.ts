import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { virshRows, type VirshRow } from '../support/virsh-rows.ts';
import { findKind } from '../../src/api/kinds.ts';

const text = readFileSync(join(import.meta.dirname, '../../docs/parity.md'), 'utf8');
const rows = virshRows(text);

describe('docs/parity.md', () => {
  it('names each verb once, and says of each whether it changes something', () => {
    expect(rows.length).toBeGreaterThan(60);
    expect(new Set(rows.map(({ verb }) => verb)).size).toBe(rows.length);
    for (const { verb, changes } of rows) expect([verb, changes]).toEqual([verb, expect.stringMatching(/^(yes|no)$/)]);
  });

  it('has a way for each verb that changes something', () => {
    const without = rows.filter(({ changes, commands }) => changes === 'yes' && commands.length === 0);
    expect(without.map(({ verb }) => verb)).toEqual([]);
  });

  describe('names commands', () => {
    const helps = new Map<string, string>();
    const paths = [...new Set(rows.flatMap(({ commands }) => commands.map(pathOf)))];
    beforeAll(async () => {
      for (const path of paths) {
        const { exitCode, stdout } = await commandLine([...path.split(' '), '--help']);
        helps.set(path, exitCode === 0 ? stdout : '');
      }
    });

    it.each(paths)('virtctl %s is one', (path) => {
      // A group that does not know a word prints its own help: the usage line says which command it was.
      expect(helps.get(path)).toMatch(
        new RegExp(`^Usage: virtctl ${path.split(' ').join('(\\|\\S+)* ')}(\\|\\S+)*( |$)`, 'm'),
      );
    });

    it('with flags that they have, for kinds that there are', () => {
      for (const command of rows.flatMap((row: VirshRow) => row.commands)) {
        const words = command.split(' ').slice(1);
        const help = helps.get(pathOf(command)) ?? '';
        for (const flag of words.filter((word) => /^--?[a-z]/.test(word))) {
          expect([command, help.includes(flag)]).toEqual([command, true]);
        }
        if (!['get', 'describe', 'edit', 'delete'].includes(words[0] ?? '')) continue;
        expect([command, findKind(words[1] ?? '')?.kind]).toEqual([command, expect.any(String)]);
      }
    });
  });
});

/** Commands whose second word is a verb too. */
const groups = ['disk', 'image', 'pool', 'network', 'snapshot', 'create', 'clone', 'attach', 'detach'];

function pathOf(command: string): string {
  const [first = '', second = ''] = command.split(' ').slice(1);
  return groups.includes(first) && /^[a-z]/.test(second) ? `${first} ${second}` : first;
}
