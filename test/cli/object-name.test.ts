import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLabelValue, isNamespaceName, isObjectName, isQualifiedName } from '../../src/cli/object-name.ts';
import { validateMetadata } from '../../src/standalone/schema/validate-metadata.ts';
import { commandLine } from '../support/command-line.ts';

/** Texts near what is taken: the letters of names, now and then something else, around the greatest lengths. */
const text = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'z', '0', '-', '.', '/', '_', 'A', ' '), maxLength: 8 }),
  fc
    .record({ length: fc.integer({ min: 60, max: 66 }), tail: fc.constantFrom('', '-', 'b', '.b') })
    .map(({ length, tail }) => `${'a'.repeat(length)}${tail}`),
  fc
    .record({ length: fc.integer({ min: 250, max: 255 }), tail: fc.constantFrom('', '/b') })
    .map(({ length, tail }) => `${'a.'.repeat(128).slice(0, length)}${tail}`),
  fc.string(),
);

const isTaken = (metadata: Record<string, unknown>, nameIsLabel = false): boolean =>
  validateMetadata({ name: 'web', ...metadata }, { nameIsLabel }).length === 0;

describe('the rules for names', () => {
  it('are those of the API server', () => {
    fc.assert(
      fc.property(text, (word) => {
        expect(isObjectName(word), 'name').toBe(isTaken({ name: word }));
        expect(isNamespaceName(word), 'namespace').toBe(isTaken({ name: word }, true));
        expect(isQualifiedName(word), 'key').toBe(isTaken({ labels: { [word]: 'x' } }));
        expect(isLabelValue(word), 'value').toBe(isTaken({ labels: { key: word } }));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a name that no server takes', () => {
  const long = 'a'.repeat(254);
  it.each([
    [['create', 'vm', 'a b', '--dry-run=client'], '"a b" cannot be a name: expected at most 253 lower-case letters'],
    [['create', 'vm', '', '--dry-run=client'], '"" cannot be a name'],
    [['create', 'vm', long, '--dry-run=client', '-o', 'yaml'], 'cannot be a name'],
    [['create', 'vm', 'web\n', '--dry-run=client'], '"web\\n" cannot be a name'],
    [['create', 'vm', 'web', '-n', 'a.b', '--dry-run=client'], '"a.b" cannot be a namespace'],
    [['create', 'vm', 'web', '--label', 'a=b c', '--dry-run=client'], '--label a: "b c" cannot be a value'],
    [['create', 'vm', 'web', '--label', 'a b=c', '--dry-run=client'], '--label: "a b" cannot be a key'],
    [['create', 'vm', 'web', '--annotation', 'a/b/c=d', '--dry-run=client'], '--annotation: "a/b/c" cannot be a key'],
    [['create', 'vm', 'web', '--node', 'a b', '--dry-run=client'], '--node: "a b" cannot be a name'],
    [['executor', '--node-name', 'a b'], '--node-name: "a b" cannot be a name'],
    [['standalone', '--node-name', 'a_b'], '--node-name: "a_b" cannot be a name'],
    [['recover', '--node', 'a b'], '--node: "a b" cannot be a name'],
    [['create', 'disk', 'Data', '--size', '1Gi', '--dry-run=client'], '"Data" cannot be a name'],
    [['create', 'namespace', 'a.b', '--dry-run=client'], '"a.b" cannot be a namespace'],
    [['clone', 'vm', 'web', 'web_2'], '"web_2" cannot be a name'],
    [['snapshot', 'create', 'web', 'before upgrade'], '"before upgrade" cannot be a name'],
    [['image', 'upload', '../x', '/etc/hostname'], '"../x" cannot be a name'],
    [['label', 'vm', 'web', 'a=b c'], 'label a: "b c" cannot be a value'],
    [['get', 'vm', '-n', 'A B'], '"A B" cannot be a namespace: expected at most 63'],
  ])('ends %j with 2 and the rule, and no server is asked', async (args, message) => {
    const result = await commandLine(args);
    expect([result.exitCode, result.stdout]).toEqual([2, '']);
    expect(result.stderr).toContain(message);
    expect(result.stderr).toMatch(/expected at most (63|253) .*with a letter or digit at both ends/);
  });

  it('leaves annotations what labels may not have', async () => {
    const annotation = ['--annotation', 'Example.com/Owner=any text, also $(this)'];
    const result = await commandLine(['create', 'vm', 'web', ...annotation, '--dry-run=client', '-o', 'yaml']);
    expect([result.exitCode, result.stderr]).toEqual([0, '']);
    expect(result.stdout).toContain('Example.com/Owner: any text, also $(this)');
  });
});
