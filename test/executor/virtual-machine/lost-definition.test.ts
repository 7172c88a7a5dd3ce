import { describe, expect, it } from 'vitest';
import { elementXml } from '../../../src/convertor/element-xml.ts';
import { bootElement } from '../../../src/executor/virtual-machine/domain-metadata.ts';
import { readDomain } from '../../../src/executor/virtual-machine/domain-view.ts';
import type { Domain } from '../../../src/libvirt/objects/domain.ts';

const boot = elementXml(bootElement({ id: 'b', at: 0, baseline: [] }));

/** What is taken for the definition of a running domain: a balloon, a CPU, a console and an interface. */
async function definitionOf(isPersistent: boolean, metadata: string): Promise<unknown> {
  const xml = `<domain type='qemu' id='7'><name>web</name><metadata>${metadata}</metadata><memory unit='KiB'>2048</memory>
    <currentMemory unit='KiB'>1024</currentMemory><cpu mode='custom' match='exact' check='full'><model>qemu64</model></cpu>
    <devices><graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'><listen type='address' address='127.0.0.1'/></graphics>
    <interface type='user'><mac address='52:54:00:00:00:01'/></interface></devices>
    <seclabel type='dynamic' model='dac' relabel='yes'/></domain>`;
  const domain = {
    ...{ name: 'web', uuid: 'u' },
    state: () => Promise.resolve({ state: 'running', reason: 'booted' }),
    xml: () => Promise.resolve(xml),
    isPersistent: () => Promise.resolve(isPersistent),
    hasManagedSave: () => Promise.resolve(false),
  } as unknown as Domain;
  return (await readDomain(domain, {}))?.inactive;
}

describe('a domain that runs without a definition', () => {
  it('has what was asked for where libvirt gives the running domain for it', async () => {
    const definition = await definitionOf(false, boot);
    for (const key of ['cpu', 'currentMemory', 'seclabel']) expect(definition).not.toHaveProperty(key);
    expect(definition).toMatchObject({
      memory: { value: 2048 },
      devices: { interface: [{ mac: { address: '52:54:00:00:00:01' } }] },
    });
    expect(definition).toHaveProperty('devices.graphics', [{ type: 'vnc', port: -1, autoport: true }]);
  });

  it('has its definition as it is where libvirt still knows it', async () => {
    for (const one of [definitionOf(false, ''), definitionOf(true, boot)]) {
      expect(await one).toMatchObject({ cpu: { check: 'full' }, devices: { graphics: [{ listen: '127.0.0.1' }] } });
    }
  });
});
