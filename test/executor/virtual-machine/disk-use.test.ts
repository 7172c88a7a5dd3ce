import { describe, expect, it } from 'vitest';
import { diskUseOf } from '../../../src/executor/virtual-machine/disk-use.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import type { Libvirt } from '../../../src/libvirt/libvirt.ts';

const uuid = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';
const noDomain = new LibvirtError('domainLookup', {
  ...{ code: ErrorNumber.NO_DOMAIN, domain: 0, message: 'no domain', level: 2 },
  ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
});

/** How the machine shop/db has /disk open, where libvirt has one domain of its UUID. */
function useBy(state: string, hasManagedSave = false): ReturnType<typeof diskUseOf> {
  const domain = {
    state: () => Promise.resolve({ state, reason: 'unknown' }),
    hasManagedSave: () => Promise.resolve(hasManagedSave),
    xml: () =>
      Promise.resolve(
        `<domain type='qemu'><name>renamed</name><devices><disk type='file' device='disk'><source file='/disk'/>` +
          `<target dev='vda'/></disk></devices></domain>`,
      ),
  };
  const domains = {
    byName: () => Promise.reject(noDomain),
    byUuid: (id: string) => (id === uuid ? Promise.resolve(domain) : Promise.reject(noDomain)),
  };
  return diskUseOf({ domains } as unknown as Libvirt, { domain: 'shop.db', uuid }, '/disk', {});
}

describe('a disk that another machine has', () => {
  it('is in use by its domain, also where somebody gave that another name', async () => {
    expect(await useBy('running')).toEqual({ readOnly: false, shareable: false });
    expect(await useBy('shutoff', true)).toEqual({ readOnly: false, shareable: false });
  });

  it('is not in use while that is off', async () => {
    expect(await useBy('shutoff')).toBeUndefined();
  });
});
