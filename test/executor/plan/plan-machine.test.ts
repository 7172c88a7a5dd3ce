import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { planMachine, type MachinePlan, type PlanSources } from '../../../src/executor/plan/plan-machine.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';

const own = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';
const other = 'b5d3e4aa-90c7-4f1c-8f0e-3a1f4ce6a0de';
const noDomain = new LibvirtError('domainLookupByUuid', {
  ...{ code: ErrorNumber.NO_DOMAIN, domain: 0, message: 'no domain', level: 2 },
  ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
});

/** The plan of shop/web at a libvirt that has a domain of its name with this UUID, and defines nothing. */
async function planAt(uuid: string): Promise<MachinePlan> {
  const machine: VirtualMachine = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'shop', uid: own },
    spec: { nodeName: 'n1', domain: { type: 'qemu', description: 'mine' } },
  };
  const domain = {
    ...{ name: 'shop.web', uuid },
    state: () => Promise.resolve({ state: 'shutoff', reason: 'shutdown' }),
    xml: () => Promise.resolve(`<domain type='qemu'><name>shop.web</name><uuid>${uuid}</uuid></domain>`),
    isPersistent: () => Promise.resolve(true),
    hasManagedSave: () => Promise.resolve(false),
  };
  const libvirt = {
    domains: {
      byName: () => Promise.resolve(domain),
      byUuid: (id: string) => (id === uuid ? Promise.resolve(domain) : Promise.reject(noDomain)),
      defineXml: () => Promise.reject(new Error('a definition was tried')),
    },
  };
  const traits = { arch: 'x86_64', nativeType: 'kvm', emulate: false, kvmUsable: true, kvmMessage: '' };
  const sources = { libvirt, traits, nodeName: 'n1', newId: () => other } as unknown as PlanSources;
  return planMachine(machine, sources, new AbortController().signal);
}

describe('planMachine', () => {
  it("does not compare a machine with somebody else's domain of its name, and says whose it is", async () => {
    const plan = await planAt(other);
    expect(plan).toMatchObject({ isNew: true, isRunning: false, fields: [] });
    expect(plan.notReady).toContain('belongs to somebody else');
  });

  it('tries the definition of its own domain out', async () => {
    await expect(planAt(own)).rejects.toThrow('a definition was tried');
  });
});
