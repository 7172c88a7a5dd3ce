import { describe, expect, it } from 'vitest';
import { GuestRequests } from '../../../src/executor/virtual-machine/guest-requests.ts';

const kib = (value: number): { unit: string; value: number } => ({ unit: 'KiB', value });

describe('what a guest is asked for', () => {
  it('waits for a balloon as long as it moves', () => {
    const requests = new GuestRequests();
    for (const [second, at] of [200, 190, 150, 120].entries()) {
      const { isPatient, message } = requests.balloon('u m', { from: kib(at), to: kib(100) }, second * 15_000);
      expect(isPatient).toBe(true);
      expect(message).toContain(`${at} KiB`);
    }
  });

  it('says that a guest has no driver when its balloon never moved', () => {
    const requests = new GuestRequests();
    requests.balloon('u m', { from: kib(200), to: kib(100) }, 0);
    const late = requests.balloon('u m', { from: kib(200), to: kib(100) }, 20_000);
    expect(late).toMatchObject({ isPatient: false });
    expect(late.message).toContain('no balloon driver');
  });

  it('says that a balloon stands still where it came to', () => {
    const requests = new GuestRequests();
    requests.balloon('u m', { from: kib(200), to: kib(100) }, 0);
    requests.balloon('u m', { from: kib(150), to: kib(100) }, 1_000);
    const late = requests.balloon('u m', { from: kib(150), to: kib(100) }, 21_000);
    expect(late).toMatchObject({ isPatient: false });
    expect(late.message).not.toContain('driver');
  });

  it('counts what was refused at once as never asked', () => {
    const requests = new GuestRequests();
    expect(requests.isTurn('u vcpu.current', 0)).toBe(true);
    expect(requests.isTurn('u vcpu.current', 1_000)).toBe(false);
    requests.forget('u vcpu.current');
    expect(requests.isTurn('u vcpu.current', 1_000)).toBe(true);
  });

  it('begins anew with another size', () => {
    const requests = new GuestRequests();
    requests.balloon('u m', { from: kib(200), to: kib(100) }, 0);
    expect(requests.balloon('u m', { from: kib(200), to: kib(150) }, 30_000).isPatient).toBe(true);
  });

  it('does not press the attention button twice within what takes the request back', () => {
    const requests = new GuestRequests();
    expect(requests.isTurn('u d', 0)).toBe(true);
    expect(requests.isTurn('u d', 5_000)).toBe(false);
    expect(requests.isTurn('u d', 12_000)).toBe(true);
    expect(requests.isPatient('u d', 19_000)).toBe(true);
    expect(requests.isPatient('u d', 20_000)).toBe(false);
    requests.keepOnly('u', new Set());
    expect(requests.isTurn('u d', 20_000)).toBe(true);
  });
});
