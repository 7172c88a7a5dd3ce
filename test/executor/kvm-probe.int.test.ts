import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { probeKvm } from '../../src/executor/hypervisor/kvm-probe.ts';
import type { Libvirt } from '../../src/libvirt/libvirt.ts';
import { openLibvirt } from '../../src/libvirt/libvirt.ts';
import type { LibvirtdNode } from '../support/libvirtd.ts';
import { startLibvirtd } from '../support/libvirtd.ts';

describe('probing KVM', () => {
  let node: LibvirtdNode;
  let libvirt: Libvirt;
  const { signal } = new AbortController();

  beforeAll(async () => {
    node = await startLibvirtd();
    libvirt = await openLibvirt(node.uri);
  });
  afterAll(async () => {
    await libvirt.close();
    await node.close();
  });

  it('sees a CPU that executes', async () => {
    const folder = join(node.dir, 'probe');
    expect(await probeKvm(libvirt, { folder, id: '00000001', signal, type: 'qemu' })).toMatchObject({ usable: true });
    expect(await libvirt.domains.list()).toEqual([]);
  });

  it('answers for KVM, works or not, and leaves nothing behind', async () => {
    const folder = join(node.dir, 'probe');
    const { usable, message } = await probeKvm(libvirt, { folder, id: '00000002', signal });
    expect(typeof usable).toBe('boolean');
    expect(message).not.toBe('');
    expect(await libvirt.domains.list()).toEqual([]);
  });

  it('is no answer when it is aborted', async () => {
    const folder = join(node.dir, 'probe');
    const aborted = AbortSignal.abort(new Error('stop'));
    await expect(probeKvm(libvirt, { folder, id: '00000003', signal: aborted, type: 'qemu' })).rejects.toThrow();
    expect(await libvirt.domains.list()).toEqual([]);
  });
});
