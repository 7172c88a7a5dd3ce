import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import { hypervisorKind, virtualMachineKind, virtualMachineOperationKind } from '../../src/api/kinds.ts';
import type { KubeObject } from '../../src/api/meta.ts';
import type { VirtualMachineOperation } from '../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { resourceTypeOf } from '../../src/cli/machine-verb.ts';
import { checkTarget } from '../../src/commands/migrate/check-target.ts';
import type { KubeClient } from '../../src/kube/kube-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { statusError } from '../../src/kube/status-error.ts';
import { commandLine, type CommandResult } from '../support/command-line.ts';
import { startTestApi, type TestApi } from '../support/test-api.ts';

const apiVersion = 'virtctl.dev/v1alpha1';
const domain: VirtualMachine['spec']['domain'] = {
  memory: { unit: 'MiB', value: 64 },
  os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
};
const condition = (status: string, message: string): object => ({
  conditions: [{ type: 'Ready', status, reason: 'Told', message, lastTransitionTime: '2026-01-01T00:00:00Z' }],
});

describe('virtctl migrate', () => {
  let api: TestApi;
  let client: KubeClient;
  let kubeconfig: string;
  let namespaces = 0;
  let namespace: string;

  const operations = async (): Promise<readonly VirtualMachineOperation[]> =>
    (await client.resource<VirtualMachineOperation>(resourceTypeOf(virtualMachineOperationKind)).listAll({ namespace }))
      .items;
  const migrate = (...args: string[]): Promise<CommandResult> =>
    commandLine(['migrate', 'web', '-n', namespace, '--kubeconfig', kubeconfig, ...args]);

  async function createNode(name: string, spec: object, status: object | undefined): Promise<void> {
    const nodes = client.resource<KubeObject>(resourceTypeOf(hypervisorKind));
    await nodes.create({ apiVersion, kind: 'Hypervisor', metadata: { name }, spec });
    if (status !== undefined) await nodes.mergePatch({ name }, { status }, { subresource: 'status' });
  }

  async function createMachine(spec: object = {}): Promise<void> {
    const machine = { apiVersion, kind: 'VirtualMachine', metadata: { name: 'web', namespace } };
    await client
      .resource<KubeObject>(resourceTypeOf(virtualMachineKind))
      .create({ ...machine, spec: { nodeName: 'here', domain, ...spec } });
  }

  beforeAll(async () => {
    api = await startTestApi('migrate-command');
    ({ client, kubeconfig } = api);
    await createNode('here', {}, condition('True', 'reports'));
    await createNode('there', {}, condition('True', 'reports'));
    await createNode('cordoned', { unschedulable: true }, condition('True', 'reports'));
    await createNode('lost', {}, condition('Unknown', 'not heard of since noon'));
    await createNode('sick', {}, condition('False', 'libvirt cannot be reached'));
    await createNode('new', {}, undefined);
  });

  afterAll(async () => {
    await api.close();
  });

  beforeEach(async () => {
    namespaces += 1;
    namespace = `case-${namespaces}`;
    await client
      .resource<KubeObject>(builtin.namespaces)
      .create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
  });

  it.each([
    ['is not there', 'nowhere', 3, 'there is no node "nowhere"'],
    ['is cordoned', 'cordoned', 4, 'node cordoned is cordoned'],
    ['has fallen silent', 'lost', 4, 'node lost is not ready: not heard of since noon'],
    ['is not ready', 'sick', 4, 'node sick is not ready: libvirt cannot be reached'],
    ['has never reported', 'new', 4, 'node new is not ready: its executor has never reported'],
    ['is given by its kind and is not there', 'node/nowhere', 3, 'there is no node "nowhere"'],
  ])('refuses at once a node that %s, and makes no operation', async (_title, node, exitCode, message) => {
    await createMachine();
    const result = await migrate('--to', node);
    expect([result.exitCode, result.stdout]).toEqual([exitCode, '']);
    expect(result.stderr).toContain(`error: vm/web: ${message}`);
    expect(await operations()).toEqual([]);
  });

  it('refuses an empty name of a node', async () => {
    await createMachine();
    expect((await migrate('--to', 'node/')).exitCode).toBe(2);
    expect(await operations()).toEqual([]);
  });

  it('has nothing to do for the node that the machine is on', async () => {
    await createMachine();
    expect(await migrate('--to', 'here')).toEqual({
      exitCode: 0,
      stdout: 'virtualmachine.virtctl.dev/web already on here\n',
      stderr: '',
    });
    expect(await operations()).toEqual([]);
  });

  it('asks for a node that is ready', async () => {
    await createMachine();
    expect(await migrate('--to', 'hv/there', '--wait=false')).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await operations()).map(({ spec }) => spec.migrate)).toEqual([{ nodeName: 'there' }]);
  });

  it('asks for a cordoned node when the machine tolerates that', async () => {
    await createMachine({ tolerations: [{ key: 'node.kubernetes.io/unschedulable', operator: 'Exists' }] });
    expect(await migrate('--to', 'cordoned', '--wait=false')).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await operations()).map(({ spec }) => spec.migrate)).toEqual([{ nodeName: 'cordoned' }]);
  });

  it('leaves it to the scheduler when the user may not read nodes', async () => {
    const machine: VirtualMachine = { apiVersion, kind: 'VirtualMachine', metadata: { name: 'web' }, spec: { domain } };
    const { signal } = new AbortController();
    const answering = (code: number): { readonly find: () => Promise<Hypervisor | undefined> } => ({
      find: () => Promise.reject(statusError(code, 'told by the test', { what: 'GET hypervisors' })),
    });
    await expect(checkTarget(answering(403), machine, 'there', signal)).resolves.toBeUndefined();
    await expect(checkTarget(answering(503), machine, 'there', signal)).rejects.toThrow('told by the test');
  });
});
