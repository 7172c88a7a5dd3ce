/**
 * A lab (scripts/lab) as tests use it: three nodes with a real kube-apiserver and etcd, machines that take next to
 * nothing, and waiting for what becomes of them.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { commandLine, type CommandResult } from './command-line.ts';
import { makeTestFolder } from './test-folder.ts';
import { ourKind, startLab, type Lab, type LabOptions } from '../../scripts/lab/lab.ts';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import { findCondition, type Condition } from '../../src/api/meta.ts';
import type { VirtualMachineOperation, VirtualMachineOperationSpec } from '../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { ObjectMeta } from '../../src/kube/object.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

/** A guest that stays in its firmware: nothing is asked of it but to be there. */
export const idleMachine: VirtualMachineSpec = {
  // Nobody in it hears the power button.
  terminationGracePeriodSeconds: 0,
  runStrategy: 'Always',
  domain: {
    type: 'qemu',
    memory: { unit: 'MiB', value: 16 },
    os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
  },
};

/** See the head of this file. */
export class LabCluster {
  readonly lab: Lab;
  readonly machines: ResourceClient<VirtualMachine>;
  readonly operations: ResourceClient<VirtualMachineOperation>;
  readonly hypervisors: ResourceClient<Hypervisor>;
  #operationNumber = 0;

  constructor(lab: Lab) {
    this.lab = lab;
    this.machines = lab.client.resource(ourKind('VirtualMachine'));
    this.operations = lab.client.resource(ourKind('VirtualMachineOperation'));
    this.hypervisors = lab.client.resource(ourKind('Hypervisor'));
  }

  create(name: string, spec: VirtualMachineSpec, metadata: ObjectMeta = {}): Promise<VirtualMachine> {
    return this.machines.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { ...metadata, name, namespace: 'default' },
      spec,
    });
  }

  get(name: string): Promise<VirtualMachine> {
    return this.machines.get({ namespace: 'default', name });
  }

  patch(name: string, spec: object): Promise<VirtualMachine> {
    return this.machines.mergePatch({ namespace: 'default', name }, { spec });
  }

  /** Waits until something holds of a machine; then the machine. */
  async until(name: string, what: string, holds: (vm: VirtualMachine) => boolean): Promise<VirtualMachine> {
    const end = performance.now() + 120_000;
    for (;;) {
      const machine = await this.get(name);
      if (holds(machine)) return machine;
      if (performance.now() > end) {
        throw new Error(`waited for ${name}: ${what}: ${JSON.stringify([machine.spec, machine.status], null, 1)}`);
      }
      await delay(50);
    }
  }

  untilStatus(name: string, status: string): Promise<VirtualMachine> {
    return this.until(name, `status ${status}`, (vm) => vm.status?.printableStatus === status);
  }

  /** Waits until the scheduler has found it a node; the node. */
  async untilPlaced(name: string): Promise<string> {
    const { spec } = await this.until(name, 'a node', ({ spec: { nodeName = '' } }) => nodeName !== '');
    return spec.nodeName ?? '';
  }

  /** Waits until a node offers at least so many processors. */
  async untilCpus(name: string, cpus: number): Promise<void> {
    const end = performance.now() + 120_000;
    for (;;) {
      const { status } = await this.hypervisors.get({ name });
      if (Number(status?.allocatable?.['cpu']) >= cpus) return;
      if (performance.now() > end) throw new Error(`${name} offers ${String(status?.allocatable?.['cpu'])} processors`);
      await delay(50);
    }
  }

  condition(machine: VirtualMachine, type: string): Partial<Condition> {
    return findCondition(machine.status, type) ?? {};
  }

  /** Deletes machines, and waits until they are gone. */
  async delete(...names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.machines.delete({ namespace: 'default', name })));
    const end = performance.now() + 120_000;
    for (const name of names) {
      for (;;) {
        const left = await this.machines.find({ namespace: 'default', name });
        if (left === undefined) break;
        if (performance.now() > end) throw new Error(`${name} does not go: ${JSON.stringify(left.status, null, 1)}`);
        await delay(50);
      }
    }
  }

  /** Creates an operation, and does not wait. */
  ask(
    machine: string,
    verb: VirtualMachineOperationSpec['verb'],
    spec: Partial<VirtualMachineOperationSpec> = {},
  ): Promise<VirtualMachineOperation> {
    this.#operationNumber += 1;
    return this.operations.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineOperation',
      metadata: { name: `${machine}-${verb.toLowerCase()}-${this.#operationNumber}`, namespace: 'default' },
      spec: { virtualMachine: machine, verb, ...spec },
    });
  }

  /** Waits until something holds of an operation; then the operation. */
  async untilOperation(
    { metadata: { name = '' } }: VirtualMachineOperation,
    what: string,
    holds: (operation: VirtualMachineOperation) => boolean,
  ): Promise<VirtualMachineOperation> {
    const end = performance.now() + 120_000;
    for (;;) {
      const operation = await this.operations.get({ namespace: 'default', name });
      if (holds(operation)) return operation;
      if (performance.now() > end) {
        throw new Error(`waited for ${name}: ${what}: ${JSON.stringify(operation.status, null, 1)}`);
      }
      await delay(30);
    }
  }

  /** Waits until an operation is over. */
  untilOver(operation: VirtualMachineOperation): Promise<VirtualMachineOperation> {
    return this.untilOperation(operation, 'its end', ({ status }) =>
      ['Succeeded', 'Failed'].includes(status?.phase ?? ''),
    );
  }

  /** The domain's id on a node, which another start would change; undefined when it does not run there. */
  async domainId(node: string, machine: string): Promise<string | undefined> {
    const running = (await this.lab.node(node).libvirtd.virsh('list', '--name')).split('\n').map((line) => line.trim());
    if (!running.includes(`default.${machine}`)) return undefined;
    return (await this.lab.node(node).libvirtd.virsh('domid', `default.${machine}`)).trim();
  }

  /** The nodes that have a domain of a machine, and its state there. */
  async domains(machine: string): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const node of this.lab.nodes) {
      const names = (await node.libvirtd.virsh('list', '--all', '--name')).split('\n').map((line) => line.trim());
      if (!names.includes(`default.${machine}`)) continue;
      found[node.name] = (await node.libvirtd.virsh('domstate', `default.${machine}`)).trim();
    }
    return found;
  }

  /** A command line of virtctl against the lab. */
  virtctl(...args: string[]): Promise<CommandResult> {
    return commandLine([...args, '--kubeconfig', this.lab.kubeconfig]);
  }

  close(): Promise<void> {
    return this.lab.close();
  }
}

/** Starts a lab of three nodes whose loss is noticed after eight seconds. */
export async function startLabCluster(options: Partial<LabOptions> = {}): Promise<LabCluster> {
  const folder = makeTestFolder('lab');
  return new LabCluster(await startLab({ folder, nodes: 3, api: 'kube', leaseSeconds: 8, ...options }));
}
