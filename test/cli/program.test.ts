import { describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { FailedError, InvalidInputError, NotFoundError } from '../../src/base/errors.ts';
import { moveLeadingFlags } from '../../src/cli/leading-flags.ts';
import { reportError } from '../../src/cli/report-error.ts';

describe('the command line', () => {
  it('shows every command under a heading, global flags and examples', async () => {
    const { exitCode, stdout } = await commandLine(['--help']);
    expect(exitCode).toBe(0);
    expect(stdout).not.toContain('\nCommands:');
    for (const part of ['Usage: virtctl COMMAND', 'Other:', 'version', 'help [command...]', '--verbose', 'Examples:']) {
      expect(stdout).toContain(part);
    }
  });

  it('shows the same when nothing is asked for', async () => {
    expect(await commandLine([])).toEqual(await commandLine(['--help']));
  });

  it('shows the help of a command in both ways of asking', async () => {
    const one = await commandLine(['help', 'completion']);
    const other = await commandLine(['completion', '--help']);
    expect(one.stdout).toContain('Usage: virtctl completion');
    expect(one).toEqual(other);
  });

  it('names the nearest command and ends with 2 for one that it does not know', async () => {
    const { exitCode, stderr } = await commandLine(['versoin']);
    expect(exitCode).toBe(2);
    expect(stderr).toBe("error: unknown command 'versoin'\n(Did you mean version?)\n(see 'virtctl --help')\n");
  });

  it("takes the API server's flags before the command's name as well, as kubectl does", () => {
    const moved = (line: string): string => moveLeadingFlags(line.split(' ')).join(' ');
    expect(moved('-n shop get vm web')).toBe('get vm web -n shop');
    expect(moved('--namespace=shop --context c get vm')).toBe('get vm --namespace=shop --context c');
    expect(moved('-nshop --kubeconfig /k delete vm -- -n')).toBe('delete vm -nshop --kubeconfig /k -- -n');
    for (const same of ['get vm -n shop', '--help', '-n', '-V', '--foo get']) expect(moved(same)).toBe(same);
  });

  it('names each flag of a subcommand once in its help', async () => {
    const { stdout } = await commandLine(['create', 'vm', '--help']);
    expect(stdout.match(/--namespace <name>/g)).toHaveLength(1);
    expect(stdout).toContain('--verbose');
    expect(stdout).toContain('--filename');
  });

  it('ends with 2 for an unknown flag and points to the help of the command', async () => {
    const { exitCode, stderr } = await commandLine(['version', '--shrot']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain("unknown option '--shrot'");
    expect(stderr).toContain("(see 'virtctl version --help')");
  });
});

describe('an error', () => {
  it('is one line with its cause, and a hint', () => {
    const error = new NotFoundError('no such machine', { cause: new Error('404'), hint: 'create it' });
    expect(reportError(error, false)).toEqual({ text: 'error: no such machine: 404\nhint: create it\n', exitCode: 3 });
  });

  it('of an input is one line for each problem', () => {
    const error = new InvalidInputError([
      { file: 'a.yaml', line: 1, column: 2, path: 'spec.x', message: 'unknown key' },
      { file: 'a.yaml', line: 3, column: 4, path: '', message: 'empty' },
    ]);
    expect(reportError(error, false)).toEqual({
      text: 'error: a.yaml:1:2: spec.x: unknown key\nerror: a.yaml:3:4: empty\n',
      exitCode: 8,
    });
  });

  it('shows all its causes when asked to', () => {
    const error = new FailedError('a', { cause: new FailedError('b', { cause: new Error('c') }) });
    expect(reportError(error, true).text).toBe('error: a: b\n  caused by: c\n');
  });
});
