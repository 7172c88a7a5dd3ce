import { spawnSync } from 'node:child_process';
import { Command, Option } from 'commander';
import { describe, expect, it } from 'vitest';
import { commandTree } from '../../src/cli/command-tree.ts';
import { completionScript } from '../../src/cli/completion-script.ts';
import { commandLine } from '../support/command-line.ts';

function sample(): Command {
  const program = new Command('virtctl').option('--verbose', 'say more');
  const convert = program.command('convert').alias('conv').argument('[file...]').summary("libvirt's XML");
  convert.addOption(new Option('-o, --output <format>', 'the format').choices(['yaml', 'json', 'xml']));
  convert.option('--output-dir <dir>', 'a folder [new]');
  const standalone = program.command('standalone').summary('all in one');
  standalone.command('backup').summary('save').option('--to <file>', 'where');
  standalone.command('restore').summary('load');
  return program;
}

/** What bash offers for a line, by the script itself. */
function completeInBash(...words: string[]): string[] {
  const script = completionScript('bash', commandTree(sample()));
  const list = words.map((word) => `'${word}'`).join(' ');
  const ask = `${script}\nCOMP_WORDS=(virtctl ${list}); COMP_CWORD=${words.length}; __virtctl; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', ask], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return stdout.split('\n').filter((word) => word !== '');
}

describe('completion in bash', () => {
  it('offers commands and their aliases', () => {
    expect(completeInBash('con')).toEqual(['convert', 'conv']);
    expect(completeInBash('')).toEqual(expect.arrayContaining(['convert', 'standalone', 'help']));
  });

  it('offers the flags of the command and of the program', () => {
    expect(completeInBash('conv', '--')).toEqual(['--output', '--output-dir', '--help', '--verbose']);
  });

  it('offers the words of a flag, behind a space and behind an equals sign', () => {
    expect(completeInBash('convert', '-o', '')).toEqual(['yaml', 'json', 'xml']);
    expect(completeInBash('convert', '--output', '=', 'y')).toEqual(['yaml']);
    expect(completeInBash('convert', '--output', '=')).toEqual(['yaml', 'json', 'xml']);
  });

  it('offers files, which is nothing of its own, where a flag or an argument takes any', () => {
    expect(completeInBash('convert', '--output-dir', '')).toEqual([]);
    expect(completeInBash('convert', 'x')).toEqual([]);
  });

  it('goes down into commands of commands, past flags with values', () => {
    expect(completeInBash('standalone', 're')).toEqual(['restore']);
    expect(completeInBash('--verbose', 'standalone', 'backup', '--to', 'convert', '--t')).toEqual(['--to']);
  });
});

describe('completion', () => {
  it('in zsh names each command, flag and word, with what would end a description escaped', () => {
    const script = completionScript('zsh', commandTree(sample()));
    expect(script).toContain("'convert:libvirt'\\''s XML'");
    expect(script).toContain("'(-o --output)--output=[the format]:value:(yaml json xml)'");
    expect(script).toContain('[a folder \\[new\\]]');
    expect(script).toContain('_virtctl_standalone_backup()');
  });

  it('in fish names each command, flag and word', () => {
    const script = completionScript('fish', commandTree(sample()));
    expect(script).toContain("-n '__fish_use_subcommand' -f -a 'convert'");
    expect(script).toContain(
      "complete -c virtctl -n '__fish_seen_subcommand_from convert conv' -s o -l output -x -a 'yaml json xml' -d 'the format'",
    );
    expect(script).toContain(
      "-n '__fish_seen_subcommand_from standalone; and not __fish_seen_subcommand_from backup restore'",
    );
  });

  it.each(['bash', 'zsh', 'fish'])('is printed for %s with the commands there are', async (shell) => {
    const { exitCode, stdout } = await commandLine(['completion', shell]);
    expect(exitCode).toBe(0);
    for (const word of ['completion', 'version', '--verbose'.slice(2)]) expect(stdout).toContain(word);
  });

  it('is refused for a shell that it does not know', async () => {
    const { exitCode, stderr } = await commandLine(['completion', 'tcsh']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('bash, zsh, fish');
  });
});
