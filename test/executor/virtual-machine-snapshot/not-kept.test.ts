import { describe, expect, it } from 'vitest';
import { notKept, nvramOf } from '../../../src/executor/virtual-machine-snapshot/not-kept.ts';

describe('what a snapshot leaves out', () => {
  const os = { nvram: { value: '/var/lib/libvirt/qemu/nvram/web_VARS.fd' } };
  const devices = { tpm: [{ model: 'tpm-crb', backend: { type: 'emulator', version: '2.0' } }] };

  it('is nothing of a machine whose state is all on its disks and in its memory', () => {
    expect(notKept({ os: {}, devices: {} }, false)).toEqual([]);
  });

  it('is the NVRAM always, and the state of a TPM unless it is in the memory that is kept', () => {
    expect(notKept({ os, devices }, false)).toEqual(["the firmware's variables (NVRAM)", 'the state of the TPM']);
    expect(notKept({ os, devices }, true)).toEqual(["the firmware's variables (NVRAM)"]);
  });

  it('is the NVRAM also before libvirt has chosen a file for it', () => {
    expect(notKept({ os: { firmware: 'efi' } }, true)).toEqual(["the firmware's variables (NVRAM)"]);
    expect(notKept({ os: { loader: { type: 'pflash' } } }, true)).toEqual(["the firmware's variables (NVRAM)"]);
  });

  it('is the same NVRAM that decides the sort of a snapshot', () => {
    expect(nvramOf({ os: { firmware: 'efi' } })).toEqual({ hasNvram: true, hasFlash: false });
    expect(nvramOf({ os })).toEqual({ hasNvram: true, hasFlash: false });
    expect(nvramOf({ os: { firmware: 'efi', loader: { type: 'pflash' } } })).toEqual({
      hasNvram: true,
      hasFlash: true,
    });
    expect(nvramOf({ os: { firmware: 'bios' } })).toEqual({ hasNvram: false, hasFlash: false });
  });

  it('does not name a TPM of the host, which has its own state', () => {
    expect(notKept({ devices: { tpm: [{ backend: { type: 'passthrough' } }] } }, false)).toEqual([]);
  });
});
