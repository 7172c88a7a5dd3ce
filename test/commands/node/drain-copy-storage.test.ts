import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Hypervisor } from '../../../src/api/hypervisor.ts';
import { hypervisorKind, virtualMachineKind, virtualMachineOperationKind } from '../../../src/api/kinds.ts';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { resourceTypeOf } from '../../../src/cli/machine-verb.ts';
import type { KubeClient } from '../../../src/kube/kube-client.ts';
import { commandLine, type CommandResult } from '../../support/command-line.ts';
import { startTestApi, type TestApi } from '../../support/test-api.ts';

const apiVersion = 'virtctl.dev/v1alpha1';

describe('draining a node whose disks go along', () => {
  let api: TestApi;
  let client: KubeClient;
  let kubeconfig: string;

  const drain = (...args: string[]): Promise<CommandResult> =>
    commandLine(['node', 'drain', 'n1', '--wait=false', ...args, '--kubeconfig', kubeconfig]);

  beforeAll(async () => {
    api = await startTestApi('drain-copy-storage');
    ({ client, kubeconfig } = api);
    const nodes = client.resource<Hypervisor>(resourceTypeOf(hypervisorKind));
    for (const name of ['n1', 'n2']) {
      await nodes.create({ apiVersion, kind: 'Hypervisor', metadata: { name }, spec: {} });
      const conditions = [
        { type: 'Ready', status: 'True' as const, reason: 'Up', lastTransitionTime: '2026-01-01T00:00:00Z' },
      ];
      await nodes.mergePatch({ name }, { status: { conditions } }, { subresource: 'status' });
    }
    const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    const at = { namespace: 'default', name: 'web' };
    await machines.create({ apiVersion, kind: 'VirtualMachine', metadata: at, spec: { nodeName: 'n1' } });
    await machines.mergePatch(at, { status: { domain: { state: 'running' } } }, { subresource: 'status' });
  });

  afterAll(async () => {
    await api.close();
  });

  it('asks for migrations that copy them', async () => {
    const { exitCode, stdout } = await drain('--copy-storage', 'All');
    expect({ exitCode, stdout }).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('told to migrate') as string,
    });
    const operations = client.resource<VirtualMachineOperation>(resourceTypeOf(virtualMachineOperationKind));
    const { items } = await operations.listAll({ namespace: 'default' });
    expect(items.map(({ spec }) => spec)).toMatchObject([{ verb: 'Migrate', migrate: { copyStorage: 'All' } }]);
  });

  it.each(['--stop', '--force'])('refuses it beside %s, which moves nothing', async (flag) => {
    const { exitCode, stderr } = await drain(flag, '--copy-storage', 'All');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--copy-storage');
  });
});
