import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildVirtctl, type CallResult, type VirtctlProcess } from './virtctl-process.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { guestMachine } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { Domain } from '../../src/model/types.gen.ts';

interface Planned {
  readonly action: string;
  readonly fields: readonly { readonly path: string; readonly effect: string; readonly from?: string; to?: string }[];
  readonly refusal?: string;
  readonly notReady?: string;
  readonly note?: string;
}

describe('virtctl plan and diff', () => {
  let node: ExecutorNode;
  let guest: Guest;
  let virtctl: VirtctlProcess;

  beforeAll(async () => {
    virtctl = buildVirtctl();
    guest = await testGuest();
    node = await startExecutorNode();
    const applied = await call(['apply', '-f', '-'], manifest('web', {}));
    expect(applied).toMatchObject({ status: 0 });
    await node.untilStatus('web', 'Running');
  });
  afterAll(async () => {
    virtctl.remove();
    await node.close();
  });

  /** The guest as a manifest, with further fields of its domain and spec. */
  function manifest(name: string, domain: Partial<Domain>, spec: Partial<VirtualMachineSpec> = {}): string {
    const machine = { metadata: { name }, apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine' };
    const base = { vcpu: { value: 4, current: 1 }, ...domain };
    return JSON.stringify({
      ...machine,
      spec: { nodeName: node.name, ...guestMachine(node, guest, name, { domain: base, spec }) },
    });
  }

  function call(words: readonly string[], input = ''): Promise<CallResult> {
    return virtctl.call(node, words, input);
  }

  async function plan(input: string, status = 0, stderr = ''): Promise<Planned> {
    const result = await call(['plan', '-f', '-', '-o', 'json'], input);
    expect(result).toMatchObject({ status, stderr });
    const { objects } = JSON.parse(result.stdout) as { objects: readonly Planned[] };
    expect(objects).toHaveLength(1);
    return objects[0] ?? { action: '', fields: [] };
  }

  /** What libvirt has, for showing that nothing was changed. */
  async function everything(): Promise<string> {
    const [names, inactive, live] = await Promise.all([
      node.libvirtd.virsh('list', '--all', '--name'),
      node.libvirtd.virsh('dumpxml', '--inactive', 'default.web'),
      node.libvirtd.virsh('dumpxml', 'default.web'),
    ]);
    // Whether the guest's agent has opened its channel is the guest's doing.
    return `${names}\n${inactive}\n${live.replaceAll(/ state='(dis)?connected'/g, '')}`;
  }

  it('finds nothing to do for what is applied', async () => {
    expect(await plan(manifest('web', {}))).toMatchObject({ action: 'none', fields: [] });
    expect(await call(['diff', '-f', '-'], manifest('web', {}))).toMatchObject({ status: 0 });
  });

  it('sorts each changed field as the executor then does', async () => {
    const before = await everything();
    const changed = manifest(
      'web',
      { vcpu: { value: 4, current: 2 }, title: 'new', cputune: { shares: 512 }, memory: { unit: 'MiB', value: 256 } },
      { terminationGracePeriodSeconds: 7 },
    );
    const { fields, action } = await plan(changed);
    expect(action).toBe('change');
    const effects = Object.fromEntries(fields.map(({ path, effect }) => [path, effect]));
    expect(effects).toMatchObject({
      title: 'live',
      'vcpu.current': 'live',
      'cputune.shares': 'live',
      memory: 'restart',
      'spec.terminationGracePeriodSeconds': 'object',
    });
    // A bag of settings is told by what is in it.
    expect(effects).not.toHaveProperty('cputune');
    expect(await everything()).toBe(before);
    expect(await call(['diff', '-f', '-'], changed)).toMatchObject({ status: 1 });
    // The executor comes to the same.
    expect(await call(['apply', '-f', '-'], changed)).toMatchObject({ status: 0 });
    const now = await node.untilObserved('web');
    const waiting = now.status?.restartRequired?.map(({ path }) => path);
    expect(waiting).toEqual(fields.filter(({ effect }) => effect === 'restart').map(({ path }) => path));
  });

  it('names what libvirt ignores, and leaves no trace of having asked', async () => {
    const before = await everything();
    const overlay = [{ at: 'devices', xml: '<teapot volume="1"/>' }];
    const { fields } = await plan(manifest('pot', {}, { overlay }));
    expect(fields).toMatchObject([{ path: 'overlay[0]', effect: 'ignored' }]);
    expect(await everything()).toBe(before);
  });

  it("gives libvirt's words and code 8 where it refuses", async () => {
    const before = await everything();
    const bad = manifest('web', {
      vcpu: { value: 4, current: 1 },
      os: { type: { machine: 'no-such-board', value: 'hvm' } },
    });
    const { refusal, fields } = await plan(bad, 8);
    expect(refusal).toBe('XML error: No PCI buses available');
    expect(fields.find(({ path }) => path === 'os.type.machine')).toMatchObject({ effect: 'refused' });
    expect(await everything()).toBe(before);
    const shown = await call(['plan', '-f', '-'], bad);
    expect(shown.stdout).toMatch(/refused by libvirt: XML error/);
    expect(await call(['diff', '-f', '-'], bad)).toMatchObject({ status: 1 });
  });

  it('says what a new machine waits for', async () => {
    const volumes = [{ name: 'root', virtualDisk: 'missing' }];
    const warning = 'Warning: spec.volumes[0].virtualDisk: there is no VirtualDisk "missing" in default yet\n';
    expect(await plan(manifest('new', {}, { volumes }), 0, warning)).toMatchObject({
      action: 'create',
      notReady: expect.stringContaining('"missing"') as string,
    });
  });

  it('shows the difference of the objects when the node is another host', async () => {
    await node.hypervisors.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'Hypervisor',
      metadata: { name: 'far-away' },
      spec: {},
    });
    const far = manifest('far', { title: 'a' }, { nodeName: 'far-away' });
    expect(await call(['apply', '-f', '-'], far)).toMatchObject({ status: 0 });
    const { fields, note } = await plan(manifest('far', { title: 'b' }, { nodeName: 'far-away' }));
    expect(note).toContain('far-away is not this host');
    expect(fields).toMatchObject([{ path: 'spec.domain.title', from: '"a"', to: '"b"', effect: 'unknown' }]);
  });

  it('does not hide what the API server refuses', async () => {
    const result = await call(['plan', '-f', '-'], manifest('web', {}, { runStrategy: 'Sometimes' as 'Always' }));
    expect(result.status).toBe(8);
    expect(result.stderr).toContain('spec.runStrategy');
  });

  it('leaves what somebody changed where it is only to tell, as get, describe and why do, until it is to enforce', async () => {
    // As many processors as it has by now: an emulated guest gives none back.
    const domain = { title: 'mine', vcpu: { value: 4, current: 2 } };
    const report = manifest('web', domain, { driftPolicy: 'Report' });
    expect(await call(['apply', '-f', '-'], report)).toMatchObject({ status: 0 });
    await node.untilObserved('web');
    await node.libvirtd.virsh('desc', 'default.web', '--config', '--title', 'other');
    await node.until('web', (one) => node.condition(one, 'Synchronized').reason === 'Drifted', 'drift');
    const inactive = (): Promise<string> => node.libvirtd.virsh('dumpxml', '--inactive', 'default.web');

    expect((await call(['get', 'vm', 'web', '-o', 'wide'])).stdout).toMatch(/\bDRIFT\b[^]*\btitle\b/);
    expect((await call(['describe', 'vm', 'web'])).stdout).toMatch(
      /Changed behind our back:\n +FIELD +NOW +SPEC\n +title +"other" +"mine"\n/,
    );
    expect((await call(['why', 'web'])).stdout).toMatch(/left so: title \(is "other", spec has "mine"\)[^]*Enforce/);
    expect(await plan(report)).toMatchObject({ action: 'none', fields: [{ path: 'title', effect: 'drift' }] });
    expect(await call(['diff', '-f', '-'], report)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/unchanged\n +title +"other" → "mine" +left as it is/) as string,
    });
    expect(await call(['apply', '-f', '-'], report)).toMatchObject({ status: 0 });
    expect(await inactive()).toContain('<title>other</title>');

    const enforce = manifest('web', domain, { driftPolicy: 'Enforce' });
    const { fields } = await plan(enforce);
    expect(fields.map(({ path, effect }) => [path, effect])).toEqual([
      ['spec.driftPolicy', 'object'],
      ['title', 'definition'],
    ]);
    expect(await call(['apply', '-f', '-'], enforce)).toMatchObject({ status: 0 });
    await expect.poll(inactive, { timeout: 120_000 }).toContain('<title>mine</title>');
    await node.until('web', (one) => node.condition(one, 'Synchronized').status === 'True', 'put right');
    expect((await call(['diff', '-f', '-'], enforce)).stdout).toBe('virtualmachine.virtctl.dev/web unchanged\n');
  });
});
