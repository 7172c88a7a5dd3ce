import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseFieldSelector, parseLabelSelector } from '../../src/cli/label-selector.ts';
import * as server from '../../src/standalone/schema/selectors.ts';
import { commandLine } from '../support/command-line.ts';

const isRefused = (parse: () => unknown): boolean => {
  try {
    parse();
    return false;
  } catch {
    return true;
  }
};

/** Selectors, mostly right ones, and what is near them. */
const labels = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom('a', 'app', 'x.y/z', 'in', 'b-1', '', 'A_b', '-a') },
      { weight: 4, arbitrary: fc.constantFrom('=', '!=', '==', ' in (', ' notin (', '>', '<', '!', ',', ')', ' ') },
      { weight: 1, arbitrary: fc.constantFrom('1', '+1', '(', '\t', 'é') },
    ),
    { maxLength: 9 },
  )
  .map((parts) => parts.join(''));

const fields = fc
  .array(fc.constantFrom('metadata.name', 'a', '=', '!=', '==', ',', '\\', '\\=', '\\,', '!'), { maxLength: 7 })
  .map((parts) => parts.join(''));

describe('the form of selectors', () => {
  it('of labels is that of the API server', () => {
    fc.assert(
      fc.property(labels, (text) => {
        expect(
          isRefused(() => parseLabelSelector(text)),
          text,
        ).toBe(isRefused(() => server.parseLabelSelector(text)));
      }),
      { numRuns: 5000 },
    );
  });

  it('of fields refuses nothing that the API server takes', () => {
    fc.assert(
      fc.property(fields, (text) => {
        const isTaken = !isRefused(() => server.parseFieldSelector(text, ['metadata.name', 'a']));
        if (isTaken) expect(parseFieldSelector(text)).toBe(text);
      }),
      { numRuns: 3000 },
    );
  });

  it.each(['', ' ', 'app', '!app', 'app=web', 'app = web , tier!=', 'a in (b,,c),d notin (e)', 'a.b/c==d', 'n>3,n<-1'])(
    'of labels may be %j',
    (text) => {
      expect(parseLabelSelector(text)).toBe(text);
    },
  );
});

describe('a selector that no server takes', () => {
  it.each([
    ['get', 'vm', '-l', 'a=b=c'],
    ['delete', 'vm', '-l', 'a=b,'],
    ['start', '-l', 'a b'],
    ['label', 'vm', '-l', 'a in b', 'c=d'],
    ['wait', 'vm', '--for=delete', '-l', 'a=(b)'],
    ['describe', 'vm', '-l', '=b'],
    ['top', 'vm', '-l', 'a=b c'],
    ['network', 'list', '-l', '/a=b'],
    ['network', 'restart', '-l', ',a=b'],
    ['get', 'vm', '--field-selector', 'metadata.name'],
    ['get', 'vm', '--field-selector', 'metadata.name=a=b'],
  ])('ends virtctl %s %s %s … with 2, and no server is asked', async (...args) => {
    const result = await commandLine(args);
    expect([result.exitCode, result.stdout]).toEqual([2, '']);
    expect(result.stderr).toMatch(/expected (labels|fields), as/);
  });
});
