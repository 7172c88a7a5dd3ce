import { rm } from 'node:fs/promises';
import { PassThrough, Writable } from 'node:stream';
import { Chalk } from 'chalk';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeTestFolder } from '../support/test-folder.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import type { VirtualMachineSnapshot } from '../../src/api/virtual-machine-snapshot.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { resourceTypeOf } from '../../src/cli/machine-verb.ts';
import type { DryRun } from '../../src/cli/resources/resource-options.ts';
import { virtualMachineKind, virtualMachineSnapshotKind } from '../../src/api/kinds.ts';
import { refuseOther } from '../../src/commands/adopt/refusals.ts';
import { recoverHosts } from '../../src/commands/recover/recover-hosts.ts';
import { HostInventory } from '../../src/executor/adoption/host-inventory.ts';
import { snapshotFinalizer } from '../../src/executor/virtual-machine-snapshot/drop-snapshot.ts';
import { machineElement } from '../../src/executor/virtual-machine/domain-metadata.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';
import type { Libvirt } from '../../src/libvirt/libvirt.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer, type ApiServer } from '../../src/standalone/server.ts';

/** A snapshot as libvirt has it. */
interface KeptSnapshot {
  readonly name: string;
  readonly description?: string;
  readonly parent?: string;
}

const uuids: Readonly<Record<string, string>> = {
  web: '11111111-1111-4111-8111-111111111111',
  mail: '22222222-2222-4222-8222-222222222222',
};

describe('machines that virtctl recover makes again, and their snapshots', () => {
  let folder: string;
  let server: ApiServer;
  let client: KubeClient;
  let namespaces = 0;
  let namespace: string;
  let snapshots: ResourceClient<VirtualMachineSnapshot>;
  let machines: ResourceClient<VirtualMachine>;

  beforeAll(async () => {
    folder = makeTestFolder('recover');
    server = await startApiServer({ folder, definitions: virtctlKinds(), logger: silentLogger, version: 'test' });
    const { kubeconfig } = server;
    client = new KubeClient(await selectConnection({ kubeconfig, env: {}, home: '/', cwd: '/' }));
    snapshots = client.resource(resourceTypeOf(virtualMachineSnapshotKind));
    machines = client.resource(resourceTypeOf(virtualMachineKind));
  });
  afterAll(async () => {
    client.close();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    namespaces += 1;
    namespace = `case-${String(namespaces)}`;
    await client.resource(builtin.namespaces).create({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace },
    });
  });

  /** A domain that is off, with our mark. */
  function domainOf(
    machine: string,
    kept: readonly KeptSnapshot[],
    { isUnreadable = false, runStrategy = 'Manual' }: { isUnreadable?: boolean; runStrategy?: string } = {},
  ): object {
    const mark = { namespace, name: machine, uid: 'lost', generation: 1, metadata: {}, ignored: [] };
    const element = machineElement({ ...mark, spec: { runStrategy }, applied: {} });
    const attributes = Object.entries(element.attributes).map(([key, value]) => ` ${key}='${value}'`);
    const xml = `<domain type='qemu'><name>${namespace}.${machine}</name><uuid>${uuids[machine] ?? ''}</uuid><metadata><v:machine xmlns:v='${element.namespace}'${attributes.join('')}>${element.text}</v:machine></metadata></domain>`;
    return {
      ...{ name: `${namespace}.${machine}`, uuid: uuids[machine] },
      state: () => Promise.resolve({ state: 'shutoff', reason: 'shutdown' }),
      xml: () => Promise.resolve(xml),
      isPersistent: () => Promise.resolve(true),
      hasManagedSave: () => Promise.resolve(false),
      snapshots: {
        list: () => (isUnreadable ? Promise.reject(new Error('cannot read')) : Promise.resolve(kept.map(snapshotOf))),
      },
    };
  }

  function snapshotOf({ name, description, parent }: KeptSnapshot): object {
    const given = description === undefined ? '' : `<description>${description}</description>`;
    const after = parent === undefined ? '' : `<parent><name>${parent}</name></parent>`;
    const xml = `<domainsnapshot><name>${name}</name>${given}<state>shutoff</state><creationTime>1700000000</creationTime>${after}<disks><disk name='vda' snapshot='internal'/></disks></domainsnapshot>`;
    return { name, xml: () => Promise.resolve(xml), isCurrent: () => Promise.resolve(false) };
  }

  /** The description of those that the executor takes. */
  const ours = (name: string): KeptSnapshot => ({ name, description: `VirtualMachineSnapshot ${namespace}/${name}` });

  /**
   * Recovers a host with machines that have snapshots.
   *
   * @param until Ends the command once it has printed this.
   * @param trouble A machine whose snapshots cannot be read; another host, that goes away meanwhile. Either fails the command.
   */
  async function recover(
    kept: Readonly<Record<string, readonly KeptSnapshot[]>>,
    until?: string,
    dryRun: DryRun = 'none',
    trouble: { readonly unreadable?: string; readonly isOneAway?: boolean } = {},
    runStrategy?: string,
    output?: 'yaml',
  ): Promise<string> {
    const interrupt = new AbortController();
    let told = '';
    const out = new Writable({
      write(chunk: Buffer, _encoding, done): void {
        told += chunk.toString();
        if (until !== undefined && told.includes(until)) interrupt.abort(new Error('interrupted'));
        done();
      },
    });
    const { signal } = interrupt;
    const domains = Object.entries(kept).map(([machine, list]) =>
      domainOf(machine, list, {
        isUnreadable: machine === trouble.unreadable,
        ...(runStrategy === undefined ? {} : { runStrategy }),
      }),
    );
    const none = { list: () => Promise.resolve([]) };
    const libvirt = {
      domains: { list: () => Promise.resolve(domains) },
      ...{ networks: none, pools: none },
    } as unknown as Libvirt;
    const inventory = new HostInventory(libvirt, signal);
    const host = { uri: 'qemu:///system', libvirt, node: { name: 'node-1', labels: {} }, inventory };
    const goes = { list: () => Promise.reject(new Error('the connection is closed')) };
    const away = {
      uri: 'qemu+tls://node-0/system',
      libvirt: { domains: goes, networks: goes, pools: goes } as unknown as Libvirt,
      ...{ node: { name: 'node-0', labels: {} }, inventory },
    };
    const hosts = trouble.isOneAway === true ? [away, host] : [host];
    const context = {
      stdin: new PassThrough().end(),
      ...{ stdout: out, stderr: out, env: {}, cwd: '/', home: '/nonexistent', signal },
      now: () => 0,
      colours: () => Promise.resolve(new Chalk({ level: 0 })),
    };
    const done = recoverHosts(context, client, { hosts, failures: [] }, { dryRun, output });
    if (until === undefined && Object.keys(trouble).length === 0) await done;
    else await expect(done).rejects.toThrow();
    return told;
  }

  /** Each snapshot of the namespace in short, by its name. */
  async function stored(): Promise<Record<string, unknown>> {
    const { items } = await snapshots.listAll({ namespace });
    return Object.fromEntries(
      items.map(({ metadata, spec, status }) => [
        metadata.name ?? '',
        {
          of: spec.virtualMachine,
          is: status?.name,
          parent: status?.parent,
          owner: metadata.ownerReferences?.map(({ uid }) => uid).join(' '),
          uid: status?.virtualMachineUID,
        },
      ]),
    );
  }

  async function uidOf(machine: string): Promise<string | undefined> {
    return (await machines.get({ namespace, name: machine })).metadata.uid;
  }

  it('are of two machines where both have one of the same name', async () => {
    await recover({ web: [ours('first'), { ...ours('second'), parent: 'first' }], mail: [ours('first')] });
    const [web, mail] = [await uidOf('web'), await uidOf('mail')];
    expect(await stored()).toEqual({
      first: { of: 'web', is: 'first', owner: web, uid: web },
      second: { of: 'web', is: 'second', parent: 'first', owner: web, uid: web },
      'mail-first': { of: 'mail', is: 'first', owner: mail, uid: mail },
    });
  });

  it('leave one of another machine alone that is there', async () => {
    const other = await snapshots.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineSnapshot',
      metadata: { namespace, name: 'first' },
      spec: { virtualMachine: 'other' },
    });
    await recover({ web: [ours('first'), { ...ours('second'), parent: 'first' }] });
    expect(await snapshots.get({ namespace, name: 'first' })).toEqual(other);
    expect(await stored()).toMatchObject({
      'web-first': { of: 'web', is: 'first' },
      second: { of: 'web', is: 'second', parent: 'web-first' },
    });
  });

  it('are told apart where their names at libvirt come to the same', async () => {
    await recover({ web: [ours('Before Upgrade'), ours('before-upgrade')] });
    const all = Object.values(await stored()) as { readonly is: string }[];
    expect(all.map(({ is }) => is).sort()).toEqual(['Before Upgrade', 'before-upgrade']);
  });

  it('become their machine’s in a second run when the first ended right after that was made', async () => {
    const kept = { web: [ours('first'), ours('second')] };
    await recover(kept, 'virtualmachine.virtctl.dev/web recovered');
    expect(await stored()).toMatchObject({ first: { owner: undefined, uid: undefined } });
    const told = await recover(kept);
    const web = await uidOf('web');
    expect(await stored()).toMatchObject({ first: { owner: web, uid: web }, second: { owner: web, uid: web } });
    expect(told).toBe(`vm/web in ${namespace}: has its snapshots first, second now\n`);
    expect(await recover(kept)).toContain('Nothing to recover');
  });

  it('are only told of in a dry run when they are not their machine’s yet', async () => {
    const kept = { web: [ours('first')] };
    await recover(kept, 'virtualmachine.virtctl.dev/web recovered');
    expect(await recover(kept, undefined, 'server')).toContain('has its snapshots first now (server dry run)');
    expect(await stored()).toMatchObject({ first: { owner: undefined, uid: undefined } });
  });

  it('come with their machine in the next run, which is not made where they cannot be read', async () => {
    const kept = { web: [ours('first')], mail: [ours('second')] };
    const told = await recover(kept, undefined, 'none', { unreadable: 'web' });
    expect(told).toContain('cannot read');
    expect((await machines.listAll({ namespace })).items.map(({ metadata }) => metadata.name)).toEqual(['mail']);
    await recover(kept);
    const [web, mail] = [await uidOf('web'), await uidOf('mail')];
    expect(await stored()).toMatchObject({ first: { of: 'web', owner: web }, second: { of: 'mail', owner: mail } });
  });

  it('come back of the hosts that stay when one of several goes away meanwhile', async () => {
    const told = await recover({ web: [ours('first')] }, undefined, 'none', { isOneAway: true });
    expect(told).toContain('node node-0 is left out:\nerror: the connection is closed');
    expect(await stored()).toMatchObject({ first: { of: 'web', owner: await uidOf('web') } });
  });

  it('stay as they are where the machine of their name is of another domain', async () => {
    const kept = { web: [ours('first')] };
    await recover(kept, 'virtualmachine.virtctl.dev/web recovered');
    await machines.delete({ namespace, name: 'web' });
    const [apiVersion, kind] = ['virtctl.dev/v1alpha1', 'VirtualMachine'] as const;
    await machines.create({ apiVersion, kind, metadata: { namespace, name: 'web' }, spec: { nodeName: 'node-1' } });
    const told = await recover(kept);
    expect(told).toContain(`domain ${namespace}.web was made for an earlier vm/web in ${namespace}`);
    expect(told).toContain(`virtctl delete vm web -n ${namespace}, and run this again`);
    expect(told).not.toContain('Nothing to recover');
    expect(await stored()).toMatchObject({ first: { owner: undefined, uid: undefined } });
  });

  it('are not those of which the executor has yet to take one', async () => {
    await recover({ web: [ours('first')] });
    await snapshots.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineSnapshot',
      metadata: { namespace, name: 'new' },
      spec: { virtualMachine: 'web' },
    });
    expect(await recover({ web: [ours('first')] })).toContain('Nothing to recover');
    expect(await stored()).toMatchObject({ new: { owner: undefined, uid: undefined } });
  });

  it('are not those without a description, which virsh took', async () => {
    const told = await recover({ web: [{ name: 'b' }, ours('first'), { name: 'a' }] });
    expect(Object.keys(await stored())).toEqual(['first']);
    expect(told).toContain(`vm/web in ${namespace}: its snapshots stay virsh's alone: a, b\n`);
  });

  describe('of which one is off because it had its run', () => {
    const printed = 'virtualmachine.virtctl.dev/web recovered';
    const settled = { power: { startedFor: 'Once' }, lastStop: { reason: 'Shutdown' } };
    const recoverOnce = (until?: string, dryRun?: DryRun): Promise<string> =>
      recover({ web: [] }, until, dryRun, {}, 'Once');

    it('let no executor start it before its status says so', async () => {
      await recoverOnce(printed);
      expect(await machines.get({ namespace, name: 'web' })).toMatchObject({ spec: { runStrategy: 'Manual' } });
    });

    it('give it its run strategy back', async () => {
      await recoverOnce();
      const web = await machines.get({ namespace, name: 'web' });
      expect(web).toMatchObject({ spec: { runStrategy: 'Once' }, status: settled });
      expect(web.metadata.annotations ?? {}).toEqual({});
    });

    it('show it as it is in the end', async () => {
      const told = await recover({ web: [] }, undefined, 'none', {}, 'Once', 'yaml');
      expect(told).toContain('runStrategy: Once\n');
      expect(told).not.toContain('recovered-run-strategy');
    });

    it('do so in a second run when the first was interrupted', async () => {
      await recoverOnce(printed);
      expect(await recoverOnce(undefined, 'server')).toContain('has its run strategy Once now (server dry run)');
      expect(await machines.get({ namespace, name: 'web' })).toMatchObject({ spec: { runStrategy: 'Manual' } });
      expect(await recoverOnce()).toBe(`vm/web in ${namespace}: has its run strategy Once now\n`);
      const web = await machines.get({ namespace, name: 'web' });
      expect(web).toMatchObject({ spec: { runStrategy: 'Once' }, status: settled });
      expect(web.metadata.annotations ?? {}).toEqual({});
      expect(await recoverOnce()).toContain('Nothing to recover');
    });

    it('leave it the run strategy that its user gave it meanwhile', async () => {
      await recoverOnce(printed);
      await machines.mergePatch({ namespace, name: 'web' }, { spec: { runStrategy: 'Halted' } });
      expect(await recoverOnce()).toContain('Nothing to recover');
      expect(await machines.get({ namespace, name: 'web' })).toMatchObject({ spec: { runStrategy: 'Halted' } });
      // Nor does a later recovery take it for one that waits.
      await machines.mergePatch({ namespace, name: 'web' }, { spec: { runStrategy: 'Manual' } });
      expect(await recoverOnce()).toContain('Nothing to recover');
      expect(await machines.get({ namespace, name: 'web' })).toMatchObject({ spec: { runStrategy: 'Manual' } });
    });
  });

  it('are the same ones after an interruption before their status or their machine was there', async () => {
    const kept = { web: [ours('first')], mail: [ours('first')] };
    await recover(kept, 'virtualmachinesnapshot.virtctl.dev/mail-first created');
    await recover(kept);
    const [web, mail] = [await uidOf('web'), await uidOf('mail')];
    expect(await stored()).toEqual({
      first: { of: 'web', is: 'first', owner: web, uid: web },
      'mail-first': { of: 'mail', is: 'first', owner: mail, uid: mail },
    });
    const { metadata } = await snapshots.get({ namespace, name: 'mail-first' });
    expect(metadata.finalizers).toEqual([snapshotFinalizer]);
  });
});

describe('an object that somebody made under a snapshot’s name meanwhile', () => {
  const of = (virtualMachine: string, spec: Partial<VirtualMachineSnapshot['spec']> = {}): VirtualMachineSnapshot => ({
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: { namespace: 'shop', name: 'first' },
    spec: { virtualMachine, ...spec },
  });

  it('is taken for it where it is of the same machine', () => {
    expect(() => refuseOther(of('web'), of('web', { description: 'before the upgrade' }))).not.toThrow();
  });

  it.each([
    ['is of another machine', of('mail')],
    ['is a schedule', of('web', { schedule: { cron: '@daily' } })],
  ])('is refused where it %s', (_title, there) => {
    expect(() => refuseOther(of('web'), there)).toThrow('another VirtualMachineSnapshot first was made meanwhile');
  });
});
