import { describe, expect, it } from 'vitest';
import { withoutResetPins } from '../../../src/executor/virtual-machine/reset-pins.ts';

const host = new Set([0, 1, 2, 3]);
const live = {
  vcpu: { value: 4 },
  cputune: {
    shares: 512,
    vcpupin: [
      { vcpu: 0, cpuset: '0-3' },
      { vcpu: 1, cpuset: '1' },
      { vcpu: 2, cpuset: '0-63' },
    ],
    emulatorpin: { cpuset: '0-3' },
    iothreadpin: [{ iothread: 1, cpuset: '0,1,2,3' }],
  },
};

describe('pins that were taken away', () => {
  it('says nothing of a pin to all that there is', () => {
    expect(withoutResetPins(live, {}, host)['cputune']).toEqual({ shares: 512, vcpupin: [{ vcpu: 1, cpuset: '1' }] });
  });

  it('leaves those that spec names', () => {
    const wanted = { cputune: { vcpupin: [{ vcpu: 0, cpuset: '0-3' }], emulatorpin: { cpuset: '0-3' } } };
    expect(withoutResetPins(live, wanted, host)['cputune']).toMatchObject({
      vcpupin: [
        { vcpu: 0, cpuset: '0-3' },
        { vcpu: 1, cpuset: '1' },
      ],
      emulatorpin: { cpuset: '0-3' },
    });
  });

  it("takes the machine's own processors for all where it has some", () => {
    const narrow = { ...live, vcpu: { value: 4, cpuset: '1' } };
    expect(withoutResetPins(narrow, {}, host)['cputune']).toMatchObject({
      vcpupin: [
        { vcpu: 0, cpuset: '0-3' },
        { vcpu: 2, cpuset: '0-63' },
      ],
    });
  });

  it("changes nothing while the host's processors are not known", () => {
    expect(withoutResetPins(live, {}, undefined)).toBe(live);
  });
});
