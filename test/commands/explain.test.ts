import { describe, expect, it } from 'vitest';
import { documentKinds } from '../../src/model/document-kind.ts';
import { commandLine } from '../support/command-line.ts';

describe('virtctl explain', () => {
  it("shows a libvirt field's type, its words, whether it is a list, and libvirt's page", async () => {
    const { exitCode, stdout } = await commandLine(['explain', 'vm.spec.domain.devices.disk.driver.cache']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('FIELD:    spec.domain.devices.disk[].driver.cache <string>');
    expect(stdout).toMatch(/^LIST: {5}no$/m);
    expect(stdout).toMatch(/^ENUM: {5}.*\bnone\b.*\bwriteback\b/m);
    expect(stdout).toContain('https://libvirt.org/formatdomain.html#');
  });

  it('shows the fields inside of a field, and says when it is a list', async () => {
    const { stdout } = await commandLine(['explain', 'vm.spec.domain.devices.disk[0]']);
    expect(stdout).toMatch(/^LIST: {5}yes/m);
    expect(stdout).toMatch(/^ {2}driver <Object>$/m);
  });

  it('shows fields that are ours, with what they are when they are not given', async () => {
    const { stdout } = await commandLine(['explain', 'virtualmachines.spec.runStrategy']);
    expect(stdout).toContain('ENUM:     Always, RerunOnFailure, Once, Manual, Halted');
  });

  it('opens what is inside when asked to, and ends where a field contains itself', async () => {
    const { stdout } = await commandLine(['explain', 'vm.spec.domain.devices', '--recursive']);
    expect(stdout.split('\n').length).toBeGreaterThan(1000);
    expect(stdout).toMatch(/^ {6}backingStore <Object>$/m);
    expect(stdout).toMatch(/backingStore <Object> \.\.\.$/m);
  });

  it.each([...documentKinds, 'vm', 'hv', 'VirtualPool', 'vdisk.status'])('knows %s', async (word) => {
    const { exitCode, stdout } = await commandLine(['explain', word]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('FIELDS:');
  });

  it('goes into maps', async () => {
    expect((await commandLine(['explain', 'vm.metadata.labels.app'])).stdout).toContain('<string>');
  });

  it.each([
    ['vm.spec.domain.devices.disk.drivr', 'did you mean vm.spec.domain.devices.disk.driver?'],
    ['vn', 'did you mean '],
    ['domian.devices', 'did you mean domain?'],
    ['vm.spec.domain.name.x', 'is of the type string'],
  ])('ends with 3 for %s', async (path, words) => {
    const { exitCode, stderr, stdout } = await commandLine(['explain', path]);
    expect(exitCode).toBe(3);
    expect(stdout).toBe('');
    expect(stderr).toContain(words);
  });
});
