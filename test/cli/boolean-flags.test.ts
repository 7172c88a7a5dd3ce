import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { addBooleanFlag, foldBooleanFlags } from '../../src/cli/boolean-flags.ts';

function parse(words: readonly string[]): { readonly wait: unknown; readonly names: readonly string[] } {
  const command = new Command('stop').argument('[name...]').option('--label <text>').exitOverride();
  addBooleanFlag(command, 'wait', 'wait for it', true);
  command.parse(foldBooleanFlags(words, command.options), { from: 'user' });
  return { wait: command.opts()['wait'], names: command.args };
}

describe('a boolean flag', () => {
  it.each([
    [[], true],
    [['--wait'], true],
    [['--wait=true'], true],
    [['--wait=false'], false],
    [['--no-wait'], false],
  ])('%j gives %s', (words, expected) => {
    expect(parse(words).wait).toBe(expected);
  });

  it('does not take the next word as its value', () => {
    expect(parse(['--wait', 'web'])).toEqual({ wait: true, names: ['web'] });
  });

  it('leaves words after -- alone', () => {
    expect(parse(['--', '--wait=false'])).toEqual({ wait: true, names: ['--wait=false'] });
  });

  it('refuses another value', () => {
    expect(() => parse(['--wait=maybe'])).toThrow();
  });
});
