/** A node with a pool, machines with disks, and their snapshots: for the tests of snapshots. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { resourceOf, startExecutorNode, type ExecutorNode, type ExecutorNodeOptions } from './executor-node.ts';
import { guestMachine, type GuestMachineOptions } from './guest-machine.ts';
import { inGuest } from './guest-shell.ts';
import { testGuest } from './guest.ts';
import type { VirtualDisk, VirtualDiskSpec } from '../../src/api/virtual-disk.ts';
import type { VirtualMachineSnapshot, VirtualMachineSnapshotSpec } from '../../src/api/virtual-machine-snapshot.ts';
import type { VirtualMachineOperationSpec } from '../../src/api/virtual-machine-operation.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

/** See the head of this file. */
export class SnapshotWorld {
  readonly node: ExecutorNode;
  readonly disks: ResourceClient<VirtualDisk>;
  readonly snapshots: ResourceClient<VirtualMachineSnapshot>;
  /** The folder of the pool `local`. */
  readonly folder: string;

  constructor(node: ExecutorNode, folder: string) {
    this.node = node;
    this.folder = folder;
    this.disks = node.client.resource(resourceOf('VirtualDisk'));
    this.snapshots = node.client.resource(resourceOf('VirtualMachineSnapshot'));
  }

  at(name: string): { namespace: string; name: string } {
    return { namespace: this.node.namespace, name };
  }

  /** Makes a pool that is a folder, and waits until it is ready. */
  async pool(name: string, path: string): Promise<void> {
    const pools = this.node.client.resource<VirtualPool>(resourceOf('VirtualPool'));
    await pools.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualPool',
      metadata: { name },
      spec: { pool: { type: 'dir', target: { path } } },
    });
    for (const end = Date.now() + 120_000; (await pools.get({ name })).status?.summary !== '1/1';) {
      if (Date.now() > end) throw new Error((await this.node.log()).slice(-2500));
      await delay(50);
    }
  }

  /** A machine with one disk of its name, that runs when this returns. */
  async machine(name: string, disk: Partial<VirtualDiskSpec> = {}, options: GuestMachineOptions = {}): Promise<void> {
    await this.disks.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: this.at(name),
      spec: { pool: 'local', nodeName: this.node.name, capacity: '48Mi', ...disk },
    });
    const volumes = [{ name: 'root', virtualDisk: name, target: { dev: 'vda' } }];
    // What a guest writes is on its disk at once (its file system is mounted so): there is nothing to shut down for.
    const own = { volumes, terminationGracePeriodSeconds: 0, ...options.spec };
    const spec = guestMachine(this.node, await testGuest(), name, { ...options, spec: own });
    await this.node.create(name, spec);
    await this.node.until(name, (vm) => vm.status?.domain?.uuid !== undefined, `${name} to be defined`);
  }

  /** Does an operation; fails unless it succeeded. */
  async operate(
    machine: string,
    verb: VirtualMachineOperationSpec['verb'],
    spec: Partial<VirtualMachineOperationSpec> = {},
  ): Promise<void> {
    const { status } = await this.node.operate(machine, verb, spec);
    if (status?.phase !== 'Succeeded') throw new Error(JSON.stringify(status));
  }

  /** Runs a command in a machine's guest; see guest-shell.ts. */
  sh(machine: string, command: string): Promise<string> {
    return inGuest(this.node.libvirtd, `default.${machine}`, command);
  }

  /** Asks for a snapshot. */
  ask(machine: string, name: string, spec: Partial<VirtualMachineSnapshotSpec> = {}): Promise<VirtualMachineSnapshot> {
    return this.snapshots.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineSnapshot',
      metadata: this.at(name),
      spec: { virtualMachine: machine, ...spec },
    });
  }

  /** Takes a snapshot, and waits until it is there. */
  async take(
    machine: string,
    name: string,
    spec: Partial<VirtualMachineSnapshotSpec> = {},
  ): Promise<VirtualMachineSnapshot> {
    await this.ask(machine, name, spec);
    return this.ready(name);
  }

  ready(name: string): Promise<VirtualMachineSnapshot> {
    return this.until(this.snapshots, name, ({ status }) => status?.phase === 'Ready', `${name} to be ready`);
  }

  /** Reverts, and waits until it is done; fails unless it succeeded. */
  async revert(machine: string, snapshot: string, more: object = {}): Promise<void> {
    await this.operate(machine, 'Revert', { revert: { snapshot, ...more } });
  }

  async until<T extends KubeObject>(
    client: ResourceClient<T>,
    name: string,
    holds: (object: T) => boolean,
    what: string,
    timeoutMs = 120_000,
  ): Promise<T> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const object = await client.get(this.at(name));
      if (holds(object)) return object;
      if (Date.now() > end) {
        throw new Error(
          `waited for ${what}: ${JSON.stringify(object, null, 1)}\n${(await this.node.log()).slice(-3000)}`,
        );
      }
      await delay(50);
    }
  }

  /** Deletes an object, and waits until it is gone. */
  async drop<T extends KubeObject>(client: ResourceClient<T>, name: string, timeoutMs = 120_000): Promise<void> {
    const found = await client.find(this.at(name));
    if (found === undefined) return;
    if (found.metadata.deletionTimestamp === undefined) await client.delete(this.at(name));
    const end = Date.now() + timeoutMs;
    for (let left = await client.find(this.at(name)); left !== undefined; left = await client.find(this.at(name))) {
      if (Date.now() > end) {
        throw new Error(`waited for ${name} to go: ${JSON.stringify(left)}\n${(await this.node.log()).slice(-3000)}`);
      }
      await delay(50);
    }
  }

  /** Deletes a snapshot, and waits until it is merged and gone. */
  async dropSnapshot(name: string): Promise<void> {
    await this.drop(this.snapshots, name);
  }

  /** The files of the pool whose names begin so. */
  async files(prefix: string): Promise<string[]> {
    return (await readdir(this.folder)).filter((name) => name.startsWith(prefix)).sort();
  }
}

/** Starts a node with the pool `local`. */
export async function startSnapshotWorld(options: ExecutorNodeOptions = {}): Promise<SnapshotWorld> {
  const node = await startExecutorNode(options);
  const folder = join(node.libvirtd.dir, 'pool');
  try {
    const world = new SnapshotWorld(node, folder);
    await world.pool('local', folder);
    return world;
  } catch (error) {
    await node.close();
    throw error;
  }
}
