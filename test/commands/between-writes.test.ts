/** What commands do when somebody else acts between two of their requests, or they end between them. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { leaseNamespace } from '../../src/api/hypervisor.ts';
import { kinds } from '../../src/api/kinds.ts';
import type { KubeObject } from '../../src/api/meta.ts';
import { resourceTypeOf } from '../../src/cli/machine-verb.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { untilTakenOver } from '../../src/commands/adopt/until-taken-over.ts';
import { settleMachine } from '../../src/commands/recover/settle-machine.ts';
import type { DomainView } from '../../src/executor/virtual-machine/domain-view.ts';
import { untilNodeReady } from '../../src/commands/install/until-node-ready.ts';
import { makeLease, type Lease } from '../../src/reconcile/lease.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';
import { commandLine, type CommandResult, type CommandSurroundings } from '../support/command-line.ts';
import { startMeddledApi, once, type MeddledApi } from '../support/meddled-api.ts';
import type { SeenRequest } from '../support/fake-api-server.ts';
import { startTestApi, type TestApi } from '../support/test-api.ts';

interface AnyObject extends KubeObject {
  readonly spec?: Record<string, unknown>;
  readonly status?: Record<string, unknown>;
}

describe('between two requests of a command', () => {
  let api: TestApi;
  let meddled: MeddledApi;
  let namespace: string;
  let namespaces = 0;

  beforeAll(async () => {
    api = await startTestApi('between-writes');
    meddled = await startMeddledApi(api.kubeconfig);
  });
  afterAll(async () => {
    await meddled.close();
    await api.close();
  });
  beforeEach(async () => {
    namespaces += 1;
    namespace = `case-${String(namespaces)}`;
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } };
    await api.client.resource(builtin.namespaces).create(object);
  });
  afterEach(() => meddled.meddle({}));

  const run = (args: readonly string[], around?: CommandSurroundings): Promise<CommandResult> =>
    commandLine([...args, '--kubeconfig', meddled.kubeconfig, '-n', namespace], around);

  const of = (kind: string): ResourceClient<AnyObject> => {
    const found = kinds.find((one) => one.kind === kind);
    if (found === undefined) throw new Error(`no kind ${kind}`);
    return api.client.resource<AnyObject>(resourceTypeOf(found));
  };
  const make = (kind: string, name: string, spec: object, metadata: object = {}): Promise<AnyObject> =>
    of(kind).create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind,
      metadata: { name, ...(kind === 'VirtualPool' || kind === 'Hypervisor' ? {} : { namespace }), ...metadata },
      spec: spec as Record<string, unknown>,
    });
  const machine = (name: string, spec: object = {}, metadata: object = {}): Promise<AnyObject> =>
    make('VirtualMachine', name, { domain: { memory: { unit: 'MiB', value: 64 } }, ...spec }, metadata);
  const status = (kind: string, name: string, value: object): Promise<AnyObject> =>
    of(kind).mergePatch(
      { name, ...(kind === 'VirtualPool' || kind === 'Hypervisor' ? {} : { namespace }) },
      { status: value },
      { subresource: 'status' },
    );
  const is =
    (method: string, part: string) =>
    ({ method: asked, url }: SeenRequest): boolean =>
      asked === method && url.pathname.includes(part);

  describe('delete', () => {
    it('--force leaves the grace period of a machine alone that it may not delete', async () => {
      await machine('web', { terminationGracePeriodSeconds: 60 });
      meddled.meddle({
        before: once(is('DELETE', '/virtualmachines/web'), () => {
          throw new Error('the connection is cut');
        }),
      });
      const { exitCode } = await run(['delete', 'vm', 'web', '--force']);
      expect(exitCode).not.toBe(0);
      const { spec } = await of('VirtualMachine').get({ namespace, name: 'web' });
      expect(spec?.['terminationGracePeriodSeconds']).toBe(60);
    });

    it('--force has a guest powered off that is on its way down, also by a second command', async () => {
      await machine('web', { terminationGracePeriodSeconds: 60 }, { finalizers: ['example.org/test'] });
      expect(await run(['delete', 'vm', 'web', '--wait=false'])).toMatchObject({ exitCode: 0 });
      expect(await run(['delete', 'vm', 'web', '--force', '--wait=false'])).toMatchObject({ exitCode: 0, stderr: '' });
      const { spec, metadata } = await of('VirtualMachine').get({ namespace, name: 'web' });
      expect(metadata.deletionTimestamp).toBeDefined();
      expect(spec?.['terminationGracePeriodSeconds']).toBe(0);
    });
  });

  describe('delete --with-disks', () => {
    it('has asked for the disks as well when it is interrupted while the guest shuts down', async () => {
      await make('VirtualDisk', 'root', { capacity: '1Gi' }, { finalizers: ['example.org/test'] });
      const volumes = [{ name: 'root', virtualDisk: 'root' }];
      await machine('web', { volumes }, { finalizers: ['example.org/test'] });
      const interrupt = new AbortController();
      meddled.meddle({
        before: once(
          ({ url }) => url.searchParams.get('watch') !== null,
          () => interrupt.abort(new Error('interrupted')),
        ),
      });
      await run(['delete', 'vm', 'web', '--with-disks'], { signal: interrupt.signal });
      const disk = await of('VirtualDisk').get({ namespace, name: 'root' });
      expect(disk.metadata.deletionTimestamp).toBeDefined();
    });
  });

  describe('delete --with-disks of machines that share a disk', () => {
    beforeEach(async () => {
      const finalizers = ['example.org/test'];
      const volumes = [{ name: 'data', virtualDisk: 'data', shareable: true }];
      await make('VirtualDisk', 'data', { capacity: '1Gi' }, { finalizers });
      for (const name of ['web', 'mail', 'other']) await machine(name, { volumes }, { finalizers });
    });
    const isDeleted = async (): Promise<boolean> =>
      (await of('VirtualDisk').get({ namespace, name: 'data' })).metadata.deletionTimestamp !== undefined;

    it('deletes it with the last one of them', async () => {
      await of('VirtualMachine').mergePatch({ namespace, name: 'other' }, { spec: { volumes: [] } });
      const args = ['delete', 'vm', 'web', 'mail', '--with-disks', '--wait=false'];
      for (const mode of ['client', 'server']) {
        const told = await run([...args, `--dry-run=${mode}`]);
        expect(told).toMatchObject({ exitCode: 0, stderr: '' });
        expect(told.stdout).toContain('virtualdisk.virtctl.dev/data deleted');
      }
      expect(await isDeleted()).toBe(false);
      expect(await run(args)).toMatchObject({ exitCode: 0, stderr: '' });
      expect(await isDeleted()).toBe(true);
    });

    it('deletes it with one whose companion is on its way out already', async () => {
      await of('VirtualMachine').mergePatch({ namespace, name: 'other' }, { spec: { volumes: [] } });
      await run(['delete', 'vm', 'mail', '--with-disks', '--wait=false']);
      expect(await isDeleted()).toBe(false);
      await run(['delete', 'vm', 'web', '--with-disks', '--wait=false']);
      expect(await isDeleted()).toBe(true);
    });

    it('leaves it to one that stays, or may not be deleted', async () => {
      const args = ['delete', 'vm', 'web', 'mail', '--with-disks', '--wait=false'];
      const refuses = is('DELETE', '/virtualmachines/mail');
      meddled.meddle({
        before: (request) => {
          if (refuses(request)) throw new Error('the connection is cut');
        },
      });
      await of('VirtualMachine').mergePatch({ namespace, name: 'other' }, { spec: { volumes: [] } });
      expect((await run(args)).exitCode).not.toBe(0);
      expect(await isDeleted()).toBe(false);
      meddled.meddle({});
      const volumes = [{ name: 'data', virtualDisk: 'data', shareable: true }];
      await of('VirtualMachine').mergePatch({ namespace, name: 'other' }, { spec: { volumes } });
      const { exitCode, stderr } = await run(args);
      expect(exitCode).toBe(0);
      expect(stderr).toContain('vdisk/data stays: vm/other has it too\n');
      expect(await isDeleted()).toBe(false);
    });
  });

  describe('create vm --run-strategy Manual --start', () => {
    const args = ['create', 'vm', 'web', '--run-strategy', 'Manual', '--start'];
    /** The executor deals with it. */
    const end = async (phase: string): Promise<void> => {
      const [operation] = (await of('VirtualMachineOperation').listAll({ namespace })).items;
      await status('VirtualMachineOperation', operation?.metadata.name ?? '', {
        phase,
        reason: 'Told',
        message: 'told',
      });
    };

    it.each([
      ['Succeeded', 0],
      ['Failed', 1],
    ])('--wait ends with the start that has %s', async (phase, exitCode) => {
      meddled.meddle({ after: once(is('POST', '/virtualmachineoperations'), () => end(phase)) });
      expect(await run([...args, '--wait', '--timeout', '30s'])).toMatchObject({ exitCode });
    });

    it('tells of the machine that was not told to start', async () => {
      const interrupt = new AbortController();
      meddled.meddle({ before: once(is('POST', '/virtualmachineoperations'), () => interrupt.abort(new Error('x'))) });
      const { exitCode, stderr } = await run(args, { signal: interrupt.signal });
      expect(exitCode).not.toBe(0);
      expect(stderr).toContain('virtctl start web');
    });
  });

  describe('label', () => {
    it('sets a label although the executor wrote status meanwhile', async () => {
      await machine('web');
      meddled.meddle({
        before: once(is('PATCH', '/virtualmachines/web'), () =>
          status('VirtualMachine', 'web', { printableStatus: 'Running' }),
        ),
      });
      expect(await run(['label', 'vm', 'web', 'tier=front'])).toMatchObject({ exitCode: 0, stderr: '' });
    });

    it('refuses a label that somebody else has set meanwhile', async () => {
      await machine('web');
      meddled.meddle({
        before: once(is('PATCH', '/virtualmachines/web'), () =>
          of('VirtualMachine').mergePatch({ namespace, name: 'web' }, { metadata: { labels: { tier: 'back' } } }),
        ),
      });
      expect(await run(['label', 'vm', 'web', 'tier=front'])).toMatchObject({
        exitCode: 4,
        stderr: expect.stringContaining('has the label tier=back already') as string,
      });
      const { metadata } = await of('VirtualMachine').get({ namespace, name: 'web' });
      expect(metadata.labels?.['tier']).toBe('back');
    });
  });

  it('disk resize goes on when the executor wrote status meanwhile', async () => {
    await make('VirtualDisk', 'root', { capacity: '1Gi' });
    meddled.meddle({
      before: once(is('PATCH', '/virtualdisks/root'), () => status('VirtualDisk', 'root', { phase: 'Pending' })),
    });
    expect(await run(['disk', 'resize', 'root', '2Gi'])).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await of('VirtualDisk').get({ namespace, name: 'root' })).spec?.['capacity']).toBe('2Gi');
  });

  it('node uncordon --start starts what drain stopped when the executor wrote status meanwhile', async () => {
    await make('Hypervisor', `${namespace}-node`, { unschedulable: true });
    await machine(
      'web',
      { nodeName: `${namespace}-node`, runStrategy: 'Halted' },
      { annotations: { 'virtctl.dev/drained-run-strategy': 'RerunOnFailure' } },
    );
    meddled.meddle({
      before: once(is('PATCH', '/virtualmachines/web'), () =>
        status('VirtualMachine', 'web', { printableStatus: 'Stopped' }),
      ),
    });
    const result = await run(['node', 'uncordon', `${namespace}-node`, '--start']);
    expect(result).toMatchObject({ exitCode: 0, stderr: '' });
    const { spec } = await of('VirtualMachine').get({ namespace, name: 'web' });
    expect(spec?.['runStrategy']).toBe('RerunOnFailure');
  });

  describe('edit', () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'virtctl-between-'));
    });
    afterAll(() => rm(folder, { recursive: true, force: true }));

    async function editor(script: string): Promise<Record<string, string>> {
      const file = join(folder, `editor-${Math.random().toString(36).slice(2)}`);
      await writeFile(file, `#!/bin/sh\n${script}\n`);
      await chmod(file, 0o755);
      return { EDITOR: file };
    }
    const halt = `sed -i 's/runStrategy: Always/runStrategy: Halted/' "$1"`;

    it('writes back what was changed although the executor wrote status meanwhile', async () => {
      await machine('web', { runStrategy: 'Always' });
      meddled.meddle({
        before: once(is('PATCH', '/virtualmachines/web'), () =>
          status('VirtualMachine', 'web', { printableStatus: 'Running' }),
        ),
      });
      expect(await run(['edit', 'vm', 'web'], { env: await editor(halt) })).toMatchObject({ exitCode: 0, stderr: '' });
      const now = await of('VirtualMachine').get({ namespace, name: 'web' });
      expect(now.spec?.['runStrategy']).toBe('Halted');
      expect(now.status?.['printableStatus']).toBe('Running');
    });

    it('keeps what was written in the editor, and says where, when somebody else changed the object', async () => {
      await machine('web', { runStrategy: 'Always' });
      meddled.meddle({
        before: once(is('PATCH', '/virtualmachines/web'), () =>
          of('VirtualMachine').mergePatch({ namespace, name: 'web' }, { spec: { runStrategy: 'Manual' } }),
        ),
      });
      const result = await run(['edit', 'vm', 'web'], { env: await editor(halt) });
      expect(result.exitCode).toBe(4);
      const kept = /what you wrote is kept in (\S+)/.exec(result.stderr)?.[1] ?? '';
      expect(await readFile(kept, 'utf8')).toContain('runStrategy: Halted');
      await rm(join(kept, '..'), { recursive: true });
      const { spec } = await of('VirtualMachine').get({ namespace, name: 'web' });
      expect(spec?.['runStrategy']).toBe('Manual');
    });

    it('keeps what was written before an editor that fails, or that is left without a change, after a complaint', async () => {
      await machine('web', { runStrategy: 'Always' });
      const wrong = `if grep -q 'runStrategy: Never' "$1"; then exit $(cat ${folder}/exit); fi
sed -i 's/runStrategy: Always/runStrategy: Never/' "$1"`;
      for (const exitCode of [1, 0]) {
        await writeFile(join(folder, 'exit'), String(exitCode));
        const result = await run(['edit', 'vm', 'web'], { env: await editor(wrong), isTerminal: true });
        expect(result.exitCode).toBe(exitCode);
        const kept = /what you wrote is kept in (\S+)/.exec(result.stderr)?.[1] ?? '';
        expect(await readFile(kept, 'utf8')).toContain('runStrategy: Never');
        await rm(join(kept, '..'), { recursive: true });
      }
    });

    it('leaves no file behind when it is done after a complaint', async () => {
      await machine('web', { runStrategy: 'Always' });
      const env = await editor(`echo "$1" > ${folder}/path
if grep -q Never "$1"; then sed -i 's/Never/Halted/' "$1"; else sed -i 's/Strategy: Always/Strategy: Never/' "$1"; fi`);
      expect(await run(['edit', 'vm', 'web'], { env, isTerminal: true })).toMatchObject({ exitCode: 0 });
      const path = (await readFile(join(folder, 'path'), 'utf8')).trim();
      await expect(readFile(path)).rejects.toThrow('ENOENT');
    });

    it('leaves no file behind when it is done', async () => {
      await machine('web', { runStrategy: 'Always' });
      await run(['edit', 'vm', 'web'], { env: await editor(`${halt}; echo "$1" > ${folder}/path`) });
      const path = (await readFile(join(folder, 'path'), 'utf8')).trim();
      await expect(readFile(path)).rejects.toThrow('ENOENT');
    });
  });

  describe('set-password', () => {
    const secrets = async (): Promise<readonly KubeObject[]> =>
      (await api.client.resource<KubeObject>(builtin.secrets).listAll({ namespace })).items.filter(({ metadata }) =>
        metadata.name?.startsWith('web-password-'),
      );
    const args = ['set-password', 'web', '--user', 'root', '--password-file', '-'];

    it('leaves no Secret behind when it is interrupted while that is made', async () => {
      await machine('web');
      const interrupt = new AbortController();
      meddled.meddle({
        after: once(is('POST', '/secrets'), () => interrupt.abort(new Error('interrupted'))),
      });
      const { exitCode } = await run(args, { stdin: 'tr0ub4dor', signal: interrupt.signal });
      expect(exitCode).not.toBe(0);
      expect(await secrets()).toEqual([]);
    });

    it('gives the Secret to the operation also when it is interrupted before', async () => {
      await machine('web');
      const interrupt = new AbortController();
      meddled.meddle({
        before: once(is('PATCH', '/secrets/'), () => interrupt.abort(new Error('interrupted'))),
      });
      await run(args, { stdin: 'tr0ub4dor', signal: interrupt.signal });
      const [operation] = (await of('VirtualMachineOperation').listAll({ namespace })).items;
      expect((await secrets()).map(({ metadata }) => metadata.ownerReferences)).toMatchObject([
        [{ kind: 'VirtualMachineOperation', uid: operation?.metadata.uid }],
      ]);
    });
  });

  describe('clone', () => {
    /** A machine that runs, with a disk. */
    async function running(): Promise<void> {
      await make('VirtualDisk', 'web-root', { capacity: '1Gi' });
      await machine('web', { volumes: [{ name: 'root', virtualDisk: 'web-root' }] });
      await status('VirtualMachine', 'web', { printableStatus: 'Running', domain: { id: 7, state: 'running' } });
    }
    const names = async (kind: string): Promise<readonly (string | undefined)[]> =>
      (await of(kind).listAll({ namespace })).items.map(({ metadata }) => metadata.name).sort();
    const takeSnapshot = async (): Promise<unknown> => {
      const [snapshot] = (await of('VirtualMachineSnapshot').listAll({ namespace })).items;
      return status('VirtualMachineSnapshot', snapshot?.metadata.name ?? '', { phase: 'Ready' });
    };

    it('removes the snapshot and the disks that it made when it is interrupted while they are copied', async () => {
      await running();
      const interrupt = new AbortController();
      const onDisk = once(is('POST', '/virtualdisks'), () => interrupt.abort(new Error('interrupted')));
      const onSnapshot = once(is('POST', '/virtualmachinesnapshots'), takeSnapshot);
      meddled.meddle({ after: (request) => onDisk(request) ?? onSnapshot(request) });
      const { exitCode } = await run(['clone', 'vm', 'web', 'web-2'], { signal: interrupt.signal });
      expect(exitCode).not.toBe(0);
      expect(await names('VirtualMachineSnapshot')).toEqual([]);
      expect(await names('VirtualDisk')).toEqual(['web-root']);
    });

    it('removes the snapshot when that is not taken in time', async () => {
      await running();
      const result = await run(['clone', 'vm', 'web', 'web-2', '--timeout', '1s']);
      expect(result.exitCode).toBe(5);
      expect(await names('VirtualMachineSnapshot')).toEqual([]);
    });

    it('leaves a machine its disks of which the server does not know whether it was made', async () => {
      await running();
      const copied = once(is('POST', '/virtualdisks'), () => status('VirtualDisk', 'web-2-root', { phase: 'Ready' }));
      const taken = once(is('POST', '/virtualmachinesnapshots'), takeSnapshot);
      meddled.meddle({
        after: (request) => copied(request) ?? taken(request),
        answers: ({ method, url }) => (method === 'POST' && url.pathname.endsWith('/virtualmachines') ? 504 : 0),
      });
      const result = await run(['clone', 'vm', 'web', 'web-2']);
      expect(result).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('web-2 may be left') as string });
      expect(result.stderr).toContain('note: kept for it: virtualdisk.virtctl.dev/web-2-root\n');
      expect(await names('VirtualMachine')).toEqual(['web', 'web-2']);
      expect(await names('VirtualDisk')).toEqual(['web-2-root', 'web-root']);
    });

    it('removes the snapshot as well when that could not be removed at the end', async () => {
      await running();
      const copied = once(is('POST', '/virtualdisks'), () => status('VirtualDisk', 'web-2-root', { phase: 'Ready' }));
      const taken = once(is('POST', '/virtualmachinesnapshots'), takeSnapshot);
      meddled.meddle({
        before: once(is('DELETE', '/virtualmachinesnapshots/'), () => {
          throw new Error('the connection is cut');
        }),
        after: (request) => copied(request) ?? taken(request),
      });
      expect((await run(['clone', 'vm', 'web', 'web-2'])).exitCode).not.toBe(0);
      expect(await names('VirtualDisk')).toEqual(['web-root']);
      expect(await names('VirtualMachineSnapshot')).toEqual([]);
    });

    it('removes its disks when somebody else made a machine of that name meanwhile', async () => {
      await running();
      const other = once(is('POST', '/virtualmachines'), () => machine('web-2', { runStrategy: 'Halted' }));
      const copied = once(is('POST', '/virtualdisks'), () => status('VirtualDisk', 'web-2-root', { phase: 'Ready' }));
      const taken = once(is('POST', '/virtualmachinesnapshots'), takeSnapshot);
      meddled.meddle({
        before: (request) => (request.url.pathname.endsWith('/virtualmachines') ? other(request) : undefined),
        after: (request) => copied(request) ?? taken(request),
      });
      const result = await run(['clone', 'vm', 'web', 'web-2']);
      expect(result).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('already exists') as string });
      expect(await names('VirtualMachineSnapshot')).toEqual([]);
      expect(await names('VirtualDisk')).toEqual(['web-root']);
    });
  });

  describe('what is waited for', () => {
    /** While the command does not look, the machine goes and another one of its name comes. */
    function replaceWhileAway(name: string): void {
      let isAway = true;
      const replace = once(isWatch, async () => {
        await of('VirtualMachine').delete({ namespace, name });
        await machine(name, { runStrategy: 'Halted' });
      });
      meddled.meddle({
        before: replace,
        expires: (request) => {
          const is = isAway && isWatch(request);
          if (is) isAway = false;
          return is;
        },
      });
    }
    const isWatch = ({ url }: SeenRequest): boolean =>
      url.searchParams.get('watch') !== null && url.pathname.endsWith('/virtualmachines');

    it('is gone for wait --for=delete when another machine has its name', async () => {
      await machine('web');
      replaceWhileAway('web');
      expect(await run(['wait', 'vm/web', '--for=delete', '--timeout', '30s'])).toMatchObject({ exitCode: 0 });
    });

    it('is gone for wait -l --for=delete when another machine has its name before it is looked at', async () => {
      const labels = { app: 'web' };
      await machine('web', {}, { labels });
      const replace = once(is('GET', '/virtualmachines'), async () => {
        await of('VirtualMachine').delete({ namespace, name: 'web' });
        await machine('web', { runStrategy: 'Halted' }, { labels });
      });
      meddled.meddle({ after: replace });
      const args = ['wait', 'vm', '-l', 'app=web', '--for=delete', '--timeout', '30s'];
      expect(await run(args)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('deleted') as string });
    });

    it('is the machine that was started, and no other of its name', async () => {
      await machine('web', { runStrategy: 'Halted' });
      replaceWhileAway('web');
      const result = await run(['start', 'web', '--timeout', '30s']);
      expect(result).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('deleted meanwhile') as string });
    });

    it('is no executor, for the stop of a machine that no node takes', async () => {
      await machine('web', { runStrategy: 'Always' });
      await status('VirtualMachine', 'web', { printableStatus: 'ErrorUnschedulable' });
      expect(await run(['stop', 'web', '--timeout', '30s'])).toMatchObject({ exitCode: 0, stderr: '' });
      const { spec } = await of('VirtualMachine').get({ namespace, name: 'web' });
      expect(spec?.['runStrategy']).toBe('Halted');
    });

    it('is the machine that was changed, and no other of its name', async () => {
      await machine('web', { nodeName: 'node-1' });
      replaceWhileAway('web');
      const result = await run(['set', 'vm', 'web', '--cpus', '2', '--timeout', '30s']);
      expect(result).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('deleted meanwhile') as string });
    });

    it('is a condition that was found out for the spec as it is', async () => {
      await machine('web', { runStrategy: 'Halted' });
      const conditions = [
        { type: 'Ready', status: 'True', reason: 'Told', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' },
      ];
      await status('VirtualMachine', 'web', { observedGeneration: 1, conditions });
      await of('VirtualMachine').mergePatch({ namespace, name: 'web' }, { spec: { runStrategy: 'Manual' } });
      const args = ['wait', 'vm/web', '--for=condition=Ready', '--timeout'];
      expect(await run([...args, '1s'])).toMatchObject({ exitCode: 5 });
      await status('VirtualMachine', 'web', { observedGeneration: 2 });
      expect(await run([...args, '30s'])).toMatchObject({ exitCode: 0 });
    });

    it('is that an adopted machine was taken over, also with a later spec', async () => {
      const made = await machine('web', { runStrategy: 'Halted' });
      await of('VirtualMachine').mergePatch({ namespace, name: 'web' }, { spec: { runStrategy: 'Manual' } });
      const conditions = [
        { type: 'Synchronized', status: 'True', reason: 'Told', lastTransitionTime: '2026-01-01T00:00:00Z' },
      ];
      await status('VirtualMachine', 'web', { observedGeneration: 2, conditions });
      const options = { signal: new AbortController().signal, timeoutMs: 30_000 };
      await untilTakenOver(api.client, made as VirtualMachine, options);
    });

    it('is a sign of life of the new executor, before what the former one said counts', async () => {
      const node = `${namespace}-node`;
      await make('Hypervisor', node, {});
      const conditions = [
        { type: 'Ready', status: 'True', reason: 'Told', lastTransitionTime: '2026-01-01T00:00:00Z' },
      ];
      await status('Hypervisor', node, { conditions });
      await api.client
        .resource(builtin.namespaces)
        .create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: leaseNamespace } });
      const leases = api.client.resource<Lease>(builtin.leases);
      const ref = { namespace: leaseNamespace, name: node };
      const first = { renewTime: '2026-01-01T00:00:00.000000Z', holderIdentity: node };
      await leases.create(makeLease(ref, first));
      const { signal } = new AbortController();
      await expect(untilNodeReady(api.client, node, { signal, timeoutMs: 500 })).rejects.toThrow('sign of life');
      const waiting = untilNodeReady(api.client, node, { signal, timeoutMs: 30_000 });
      const over = new AbortController();
      const ended = waiting.finally(() => over.abort());
      for (let beat = 1; !over.signal.aborted; beat += 1) {
        const renewTime = new Date(Date.UTC(2026, 0, 1) + beat * 1000).toISOString().replace('Z', '000Z');
        await leases.mergePatch(ref, { spec: { renewTime } });
        await delay(100);
      }
      await ended;
    });

    it.each([
      ['network', 'VirtualNetwork', 'restartedAt', 'restart'],
      ['pool', 'VirtualPool', 'refreshedFor', 'refresh'],
    ])('is what the last of two users asked of a %s, who asked at once', async (word, kind, field, verb) => {
      const name = `${namespace}-shared`;
      const object = await make(
        kind,
        name,
        kind === 'VirtualPool' ? { pool: { type: 'dir', target: { path: '/srv/x' } } } : {},
      );
      const time = '2099-01-01T00:00:00.000000Z';
      const ready = { type: 'Ready', status: 'True', reason: 'Told', lastTransitionTime: '2026-01-01T00:00:00Z' };
      const askAsWell = once(
        ({ method }) => method === 'PATCH',
        async () => {
          const ref = { name, ...(kind === 'VirtualPool' ? {} : { namespace }) };
          const { metadata } = await of(kind).get(ref);
          const annotations = Object.fromEntries(Object.keys(metadata.annotations ?? {}).map((key) => [key, time]));
          await of(kind).mergePatch(ref, { metadata: { annotations } });
          const { generation } = object.metadata;
          const line = {
            nodeName: 'node-1',
            state: word === 'pool' ? 'running' : 'Active',
            observedGeneration: generation,
          };
          await status(kind, name, {
            nodes: [{ ...line, [field]: time }],
            conditions: [{ ...ready, observedGeneration: generation }],
          });
        },
      );
      meddled.meddle({ after: askAsWell });
      expect(await run([word, verb, name, '--timeout', '30s'])).toMatchObject({ exitCode: 0, stderr: '' });
    });
  });

  describe('pool start', () => {
    const dir = { type: 'dir', target: { path: '/srv/x' } };
    const line = { nodeName: 'node-1', state: 'inactive', message: 'pool away: no such device' };
    const refused = (generation: number | undefined): object => ({
      type: 'Ready',
      status: 'False',
      reason: 'StartFailed',
      message: 'node-1: pool away: no such device',
      observedGeneration: generation,
      lastTransitionTime: '2026-01-01T00:00:00Z',
    });

    it('tells what libvirt refuses, and does not wait for more', async () => {
      const name = `${namespace}-away`;
      await make('VirtualPool', name, { active: false, pool: dir });
      const refuse = once(
        ({ method }) => method === 'PATCH',
        async () => {
          const { metadata } = await of('VirtualPool').get({ name });
          await status('VirtualPool', name, { nodes: [line], conditions: [refused(metadata.generation)] });
        },
      );
      meddled.meddle({ after: refuse });
      const { exitCode, stderr } = await run(['pool', 'start', name, '--timeout', '3s']);
      expect(exitCode).not.toBe(0);
      expect(stderr).toContain(`vpool/${name} on node node-1: pool away: no such device`);
    });

    it('waits for a pool that was refused before it was asked for, and is tried again', async () => {
      const name = `${namespace}-back`;
      const { metadata } = await make('VirtualPool', name, { active: true, pool: dir });
      const { generation } = metadata;
      await status('VirtualPool', name, { nodes: [line], conditions: [refused(generation)] });
      const started = { nodeName: 'node-1', state: 'running', observedGeneration: generation };
      const startOnceSeen = once(
        ({ url }) => url.searchParams.get('watch') !== null,
        async () => {
          await status('VirtualPool', name, { nodes: [started], conditions: [] });
        },
      );
      meddled.meddle({ before: startOnceSeen });
      expect(await run(['pool', 'start', name, '--timeout', '30s'])).toMatchObject({ exitCode: 0, stderr: '' });
    });
  });

  describe('recover', () => {
    const annotations = { 'virtctl.dev/recovered-run-strategy': 'Once' };
    const ref = (): { namespace: string; name: string } => ({ namespace, name: 'web' });
    const off = { state: 'off', hasManagedSave: false, libvirtState: { state: 'shutoff', reason: 'shutdown' } };
    /** Gives a machine the strategy it waits for, as it was seen before somebody else acted. */
    async function settle(act: () => Promise<unknown>): Promise<void> {
      const seen = (await machine('web', { runStrategy: 'Manual' }, { annotations })) as VirtualMachine;
      await act();
      await settleMachine(api.client, seen, off as DomainView, new AbortController().signal);
    }

    it('gives a machine its run strategy although the executor wrote status meanwhile', async () => {
      await settle(() => status('VirtualMachine', 'web', { printableStatus: 'Stopped' }));
      const now = await of('VirtualMachine').get(ref());
      expect(now).toMatchObject({
        spec: { runStrategy: 'Once' },
        status: { printableStatus: 'Stopped', power: { startedFor: 'Once' } },
      });
      expect(now.metadata.annotations ?? {}).toEqual({});
    });

    it('leaves a machine the run strategy that its user gave it between the look and the write', async () => {
      await settle(() => of('VirtualMachine').mergePatch(ref(), { spec: { runStrategy: 'Halted' } }));
      const now = await of('VirtualMachine').get(ref());
      expect(now.spec?.['runStrategy']).toBe('Halted');
      expect(now.status?.['power']).toBeUndefined();
    });

    it('leaves a machine alone that a second recovery has settled, and that runs since', async () => {
      await settle(async () => {
        const settled = { metadata: { annotations: null }, spec: { runStrategy: 'RerunOnFailure' } };
        await of('VirtualMachine').mergePatch(ref(), settled);
        await status('VirtualMachine', 'web', { power: { startedFor: 'RerunOnFailure' } });
      });
      const now = await of('VirtualMachine').get(ref());
      expect(now).toMatchObject({
        spec: { runStrategy: 'RerunOnFailure' },
        status: { power: { startedFor: 'RerunOnFailure' } },
      });
      expect(now.status?.['lastStop']).toBeUndefined();
    });
  });

  it('uninstall --objects leaves the finalizers of others alone that came meanwhile', async () => {
    await machine('web', {}, { finalizers: ['virtctl.dev/domain'] });
    const finalizers = ['virtctl.dev/domain', 'example.org/backup'];
    meddled.meddle({
      before: once(is('PATCH', `/${namespace}/virtualmachines/web`), () =>
        of('VirtualMachine').mergePatch({ namespace, name: 'web' }, { metadata: { finalizers } }),
      ),
    });
    await commandLine(['uninstall', '--objects', '--kubeconfig', meddled.kubeconfig]);
    const { metadata } = await of('VirtualMachine').get({ namespace, name: 'web' });
    expect(metadata.finalizers).toEqual(['example.org/backup']);
  });
});
