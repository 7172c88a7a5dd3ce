import { describe, expect, it } from 'vitest';
import { elementXml } from '../../../src/convertor/element-xml.ts';
import { findOrphans } from '../../../src/executor/hypervisor/find-orphans.ts';
import { isOwnerOf, slimMachine } from '../../../src/executor/machine-index.ts';
import { machineElement } from '../../../src/executor/virtual-machine/domain-metadata.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import type { Domain } from '../../../src/libvirt/objects/domain.ts';

const uuids = {
  web: '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11',
  lost: 'b5d3e4aa-90c7-4f1c-8f0e-3a1f4ce6a0de',
} as const;

/** A domain with the mark of shop/web, as the object was that had this uid. */
function domainOf(uuid: string, uid: string): Domain {
  const mark = { namespace: 'shop', name: 'web', uid, generation: 1, metadata: {}, applied: {}, ignored: [], spec: {} };
  return {
    ...{ name: 'shop.web', uuid, id: 7 },
    metadata: () => Promise.resolve(elementXml(machineElement(mark))),
  } as unknown as Domain;
}

/** The orphans among domains of a node where shop/web is, with this uid and UUID. */
async function orphansOf(domains: readonly Domain[], uid: string, uuid?: string): Promise<string[]> {
  const machine: VirtualMachine = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { namespace: 'shop', name: 'web', uid },
    spec: uuid === undefined ? {} : { domain: { uuid } },
  };
  const slim = slimMachine(machine);
  const found = await findOrphans(domains, new Set([slim.spec.uuid]), (owner) => isOwnerOf(slim, owner), {});
  return found.map((orphan) => orphan.uuid ?? '');
}

describe('a domain with our mark', () => {
  it("is its machine's, also after the object was lost and made again with the UUID", async () => {
    expect(await orphansOf([domainOf(uuids.web, uuids.web)], uuids.web)).toEqual([]);
    expect(await orphansOf([domainOf(uuids.lost, uuids.lost)], uuids.web, uuids.lost)).toEqual([]);
  });

  it('is an orphan where there is another machine of that name, made anew with another UUID', async () => {
    expect(await orphansOf([domainOf(uuids.lost, uuids.lost)], uuids.web)).toEqual([uuids.lost]);
  });
});
