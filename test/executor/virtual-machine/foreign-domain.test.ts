import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import type { MachineMark } from '../../../src/executor/virtual-machine/domain-metadata.ts';
import { findDomain, type DomainView } from '../../../src/executor/virtual-machine/domain-view.ts';
import { foreignMessage, isForeign } from '../../../src/executor/virtual-machine/foreign-domain.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import type { Libvirt } from '../../../src/libvirt/libvirt.ts';

const own = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';
const other = 'b5d3e4aa-90c7-4f1c-8f0e-3a1f4ce6a0de';

const machine: VirtualMachine = {
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop', uid: own },
  spec: { nodeName: 'node-1' },
};

function viewOf(uuid: string, mark?: Partial<MachineMark>, name = 'shop.web'): DomainView {
  const whole = mark === undefined ? undefined : { namespace: 'shop', name: 'web', spec: {}, ...mark };
  return { domain: { name, uuid }, mark: whole } as unknown as DomainView;
}

describe('a domain', () => {
  it.each([
    ['has its UUID and no mark', machine, viewOf(own)],
    ['has its UUID and its mark', machine, viewOf(own, { uid: own })],
    ['has its UUID and the mark of an object of its name that was lost', machine, viewOf(own, { uid: other })],
    [
      'has its mark, and the UUID that spec had then',
      machine,
      viewOf(other, { uid: own, spec: { domain: { uuid: other.toUpperCase() } } }),
    ],
  ])("is the machine's when it %s", (_what, vm, view) => {
    expect(isForeign(vm, view)).toBe(false);
  });

  it.each([
    ['has no mark', viewOf(other), 'somebody else'],
    ['has the mark of another machine', viewOf(other, { uid: other, name: 'db' }), 'VirtualMachine shop/db'],
    [
      'has the UUID, and the mark of another machine',
      viewOf(own, { uid: other, name: 'db' }),
      'VirtualMachine shop/db',
    ],
    ['is a copy, with the mark that it was copied with', viewOf(other, { uid: own }), 'a copy'],
    ['was made for an object of that name that is gone', viewOf(other, { uid: other }), 'an earlier VirtualMachine'],
  ])("is another's that %s, which is told", (_what, view, words) => {
    expect(isForeign(machine, view)).toBe(true);
    const message = foreignMessage(machine, view, 'node-1');
    expect(message).toContain(words);
    expect(message).toContain('"shop.web"');
  });
});

describe('findDomain', () => {
  const none = new LibvirtError('domainLookup', {
    ...{ code: ErrorNumber.NO_DOMAIN, domain: 0, message: 'no domain', level: 2 },
    ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
  });
  const find = async (uuid: string, there: readonly { name: string; uuid: string }[]): Promise<string | undefined> => {
    const one = (holds: (domain: { name: string; uuid: string }) => boolean): Promise<object> => {
      const found = there.find(holds);
      return found === undefined ? Promise.reject(none) : Promise.resolve(found);
    };
    const domains = {
      byName: (name: string) => one((domain) => domain.name === name),
      byUuid: (id: string) => one((domain) => domain.uuid === id),
    };
    const found = await findDomain({ domains } as unknown as Libvirt, 'shop.web', uuid, {});
    return found === undefined ? undefined : `${found.name} ${found.uuid}`;
  };

  it('finds the domain of the UUID under any name, also where another one has the name', async () => {
    const both = [
      { name: 'shop.web', uuid: other },
      { name: 'renamed', uuid: own },
    ];
    expect(await find(own, both)).toBe(`renamed ${own}`);
  });

  it('finds one that is in the way by its name, and nothing where there is neither', async () => {
    expect(await find(own, [{ name: 'shop.web', uuid: other }])).toBe(`shop.web ${other}`);
    expect(await find(own, [{ name: 'other', uuid: other }])).toBeUndefined();
  });

  it('does not look for what is no UUID', async () => {
    expect(await find('', [{ name: 'other', uuid: '' }])).toBeUndefined();
  });
});
