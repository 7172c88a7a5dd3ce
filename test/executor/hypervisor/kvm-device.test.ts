import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { kvmDeviceProblem } from '../../../src/executor/hypervisor/kvm-device.ts';
import { makeTestFolder } from '../../support/test-folder.ts';

describe('the device of KVM', () => {
  it.each([
    [0o600, 'mode'],
    [0o640, 'mode'],
    [0o660, undefined],
    [0o666, undefined],
  ])('with mode %o is told as %s', async (mode, problem) => {
    const path = join(makeTestFolder('kvm-device'), 'kvm');
    await writeFile(path, '');
    await chmod(path, mode);
    const found = await kvmDeviceProblem(path);
    expect(found?.problem).toBe(problem);
    if (found !== undefined) expect(found.fix).toContain('chmod 0660');
  });

  it('is told as missing when it is not there', async () => {
    const found = await kvmDeviceProblem(join(makeTestFolder('kvm-device'), 'kvm'));
    expect(found).toMatchObject({ problem: 'missing' });
    expect(found?.fix).toContain('firmware');
  });
});
