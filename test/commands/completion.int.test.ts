import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';

const folder = mkdtempSync(join(tmpdir(), 'virtctl-completion-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function writeScript(shell: 'zsh' | 'fish'): Promise<string> {
  const { stdout } = await commandLine(['completion', shell]);
  const path = join(folder, `virtctl.${shell}`);
  writeFileSync(path, stdout);
  return path;
}

function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    timeout: 60_000,
    env: { PATH: process.env['PATH'], HOME: folder, TERM: 'dumb' },
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

/**
 * Types lines with a tab behind each into an interactive zsh on a pseudo-terminal, and prints what each became. Keys are
 * taken in order: what follows the tab waits for the completion.
 */
const typeIntoZsh = `
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w -n shell $'PS1=; autoload -U compinit; compinit -D -u; source '$1$'; print rea""dy\\n'
zpty -r shell seen '*ready*'
shift
for line in "$@"; do
  zpty -w -n shell "$line"$'\\t\\C-aprint -r -- "[\\C-e]" E""ND\\n'
  zpty -r shell seen $'*\\n*] END*'
  print -r -- "\${\${seen##*\\[}%%\\]*}"
done
zpty -d shell
`;

describe('the completion script in zsh itself', () => {
  it.each([
    ['virtctl explai', 'virtctl explain'],
    ['virtctl standalone ba', 'virtctl standalone backup'],
    ['virtctl convert --output-d', 'virtctl convert --output-dir'],
    ['virtctl completion fi', 'virtctl completion fish'],
    ['virtctl nonsense', 'virtctl nonsense'],
  ])('makes %s %s', async (typed, completed) => {
    const script = await writeScript('zsh');
    expect(run('zsh', ['-f', '-c', typeIntoZsh, 'zsh', script, typed]).trim()).toBe(completed);
  });
});

describe('the completion script in fish itself', () => {
  let script = '';
  beforeAll(async () => {
    script = await writeScript('fish');
  });

  it.each([
    ['virtctl explai', ['explain']],
    ['virtctl standalone ', ['backup', 'restore']],
    ['virtctl convert --output-d', ['--output-dir']],
    ['virtctl completion ', ['bash', 'fish', 'zsh']],
  ])('offers behind %s %j', (typed, words) => {
    const ask = `source ${script}; complete -C '${typed}'`;
    const offered = run('fish', ['--no-config', '-c', ask]).split('\n');
    expect(offered.map((line) => line.split('\t')[0]).filter((word) => word !== '')).toEqual(words);
  });
});
