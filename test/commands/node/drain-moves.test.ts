import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Hypervisor } from '../../../src/api/hypervisor.ts';
import { hypervisorKind, virtualMachineKind, virtualMachineOperationKind } from '../../../src/api/kinds.ts';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { resourceTypeOf } from '../../../src/cli/machine-verb.ts';
import type { ResourceClient } from '../../../src/kube/resource-client.ts';
import { commandLine, type CommandResult } from '../../support/command-line.ts';
import type { SeenRequest } from '../../support/fake-api-server.ts';
import { once, startMeddledApi, type MeddledApi } from '../../support/meddled-api.ts';
import { startTestApi, type TestApi } from '../../support/test-api.ts';

const apiVersion = 'virtctl.dev/v1alpha1';
const namespace = 'default';

describe('draining a node that machines leave or come to at the same time', () => {
  let api: TestApi;
  let meddled: MeddledApi;
  let machines: ResourceClient<VirtualMachine>;
  let operations: ResourceClient<VirtualMachineOperation>;
  let count = 0;
  let name: string;

  beforeAll(async () => {
    api = await startTestApi('drain-moves');
    meddled = await startMeddledApi(api.kubeconfig);
    machines = api.client.resource(resourceTypeOf(virtualMachineKind));
    operations = api.client.resource(resourceTypeOf(virtualMachineOperationKind));
    const nodes = api.client.resource<Hypervisor>(resourceTypeOf(hypervisorKind));
    for (const node of ['n1', 'n2']) {
      await nodes.create({ apiVersion, kind: 'Hypervisor', metadata: { name: node }, spec: {} });
      const conditions = [
        { type: 'Ready', status: 'True' as const, reason: 'Up', lastTransitionTime: '2026-01-01T00:00:00Z' },
      ];
      await nodes.mergePatch({ name: node }, { status: { conditions } }, { subresource: 'status' });
    }
  });
  afterAll(async () => {
    await meddled.close();
    await api.close();
  });
  beforeEach(() => {
    meddled.meddle({});
    count += 1;
    name = `web-${String(count)}`;
  });

  const drain = (...args: string[]): Promise<CommandResult> =>
    commandLine(['node', 'drain', 'n1', '--timeout', '60s', ...args, '--kubeconfig', meddled.kubeconfig]);

  /** A machine that runs on a node. */
  async function running(nodeName: string): Promise<void> {
    const metadata = { namespace, name };
    await machines.create({ apiVersion, kind: 'VirtualMachine', metadata, spec: { nodeName, runStrategy: 'Always' } });
    await machines.mergePatch(metadata, { status: { domain: { state: 'running' } } }, { subresource: 'status' });
  }
  /** A migration of it that goes on. */
  async function moving(target: string): Promise<void> {
    const metadata = { namespace, name: `${name}-moves` };
    const spec = { virtualMachine: name, verb: 'Migrate' as const };
    await operations.create({ apiVersion, kind: 'VirtualMachineOperation', metadata, spec });
    await over(metadata.name, { phase: 'Running', context: { target } });
  }
  const over = (operation: string, status: object): Promise<unknown> =>
    operations.mergePatch({ namespace, name: operation }, { status }, { subresource: 'status' });
  /** As executors do: first who has it, then where it belongs. */
  async function moveTo(nodeName: string): Promise<void> {
    await machines.mergePatch({ namespace, name }, { status: { nodeName } }, { subresource: 'status' });
    await machines.mergePatch({ namespace, name }, { spec: { nodeName } });
  }
  const isWatch = ({ url }: SeenRequest): boolean =>
    url.searchParams.get('watch') !== null && url.pathname.endsWith('/virtualmachineoperations');
  const isMigration = ({ method, url }: SeenRequest): boolean =>
    method === 'POST' && url.pathname.endsWith('/virtualmachineoperations');
  /** What came of the migration that the command has asked for. */
  async function end(status: object): Promise<void> {
    const { items } = await operations.listAll({ namespace });
    const asked = items.find(({ metadata }) => metadata.name?.startsWith(`${name}-migrate-`) === true);
    await over(asked?.metadata.name ?? '', status);
  }

  it('leaves a machine to the migration that an earlier drain has asked for', async () => {
    await running('n1');
    await moving('n2');
    const arrive = once(isWatch, async () => {
      await moveTo('n2');
      await over(`${name}-moves`, { phase: 'Succeeded' });
    });
    // There is no third node.
    const refuse = once(isMigration, () => end({ phase: 'Failed', reason: 'NoNode', message: 'nowhere to go' }));
    meddled.meddle({ before: arrive, after: refuse });
    const { exitCode, stdout } = await drain();
    expect({ exitCode, stdout }).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('migrated to n2') as string,
    });
    const { spec } = await machines.get({ namespace, name });
    expect(spec).toMatchObject({ nodeName: 'n2', runStrategy: 'Always' });
  });

  it('shuts no machine down that was moved while it could not be migrated', async () => {
    await running('n1');
    meddled.meddle({
      after: once(isMigration, async () => {
        await moveTo('n2');
        await end({ phase: 'Failed', reason: 'NoNode', message: 'nowhere to go' });
      }),
    });
    expect(await drain()).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('moved to n2') as string });
    expect((await machines.get({ namespace, name })).spec.runStrategy).toBe('Always');
  });

  it('shuts no machine down with --stop that was moved a moment before', async () => {
    await running('n1');
    const isStop = ({ method, url }: SeenRequest): boolean =>
      method === 'PATCH' && url.pathname.endsWith(`/virtualmachines/${name}`);
    meddled.meddle({ before: once(isStop, () => moveTo('n2')) });
    const result = await drain('--stop');
    expect(result).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('moved to n2') as string });
    expect((await machines.get({ namespace, name })).spec.runStrategy).toBe('Always');
  });

  it('waits a second time for a machine that nobody has said to be off since the first', async () => {
    const metadata = { namespace, name };
    await machines.create({ apiVersion, kind: 'VirtualMachine', metadata, spec: { nodeName: 'n1' } });
    const short = ['--stop', '--timeout', '1s'];
    expect(await drain(...short)).toMatchObject({ exitCode: 5 });
    expect(await drain(...short)).toMatchObject({ exitCode: 5 });
    await machines.mergePatch(metadata, { status: { observedGeneration: 2 } }, { subresource: 'status' });
    const { exitCode, stdout } = await drain(...short);
    expect({ exitCode, stdout }).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining(`${name} in default already stopped\n`) as string,
    });
  });

  it('waits for a machine that is on its way to the node, and has it go again', async () => {
    await running('n2');
    await moving('n1');
    const arrive = once(isWatch, async () => {
      await moveTo('n1');
      await over(`${name}-moves`, { phase: 'Succeeded' });
    });
    const goOn = once(isMigration, async () => {
      await moveTo('n2');
      await end({ phase: 'Succeeded', context: { target: 'n2' } });
    });
    meddled.meddle({ before: arrive, after: goOn });
    const { exitCode, stdout } = await drain();
    expect({ exitCode, stdout }).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/migrated to n2\n.*n1 drained\n$/) as string,
    });
    expect((await machines.get({ namespace, name })).spec.nodeName).toBe('n2');
  });
});
