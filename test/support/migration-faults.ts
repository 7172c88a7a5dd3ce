/**
 * Migrations with a fault at a random moment, and what must hold after each: the operation is over, exactly one copy of the
 * guest is there, it executes where the machine says, and it has never booted again. `npm run soak -- migration-faults`
 * runs fifty, the tests a tenth; `migration-disk-faults` is the same with a disk in a pool of each node, of which one copy is to
 * be left too, with what was written to it.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { LabCluster } from './lab-cluster.ts';
import type { Guest } from './guest.ts';
import { ourKind } from '../../scripts/lab/lab.ts';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

/** What happens while the guest is on its way. */
export const faults = [
  'source executor',
  'target executor',
  'both executors',
  'source libvirtd',
  'target libvirtd',
  'target cut off',
  'called off',
  'nothing',
] as const;

/** One of {@link faults}. */
export type Fault = (typeof faults)[number];

/** What came of a run. */
export interface FaultRun {
  readonly migrations: number;
  /** How many ended with the guest at the target. */
  readonly moved: number;
  readonly failures: readonly string[];
}

/** A guest that writes its boots where all nodes see them. */
export function roamingGuest(cluster: LabCluster, guest: Guest, name: string): VirtualMachineSpec {
  return {
    runStrategy: 'Always',
    nodeName: 'node-1',
    terminationGracePeriodSeconds: 0,
    domain: {
      type: 'qemu',
      memory: { unit: 'MiB', value: 160 },
      os: {
        type: { arch: 'x86_64', machine: 'q35', value: 'hvm' },
        ...{ kernel: guest.kernel, initrd: guest.initrd, cmdline: guest.cmdline },
      },
      features: { acpi: {} },
      devices: { serial: [{ type: 'file', source: [{ path: consoleOf(cluster, name), append: true }] }] },
    },
  };
}

/** The file that a roaming guest's console is written to. */
export function consoleOf(cluster: LabCluster, name: string): string {
  return join(cluster.lab.shared, `${name}.log`);
}

/** How often a roaming guest came to its shell. */
export async function bootsOf(cluster: LabCluster, name: string): Promise<number> {
  try {
    return (await readFile(consoleOf(cluster, name), 'utf8')).split('virtctl-guest ready').length - 1;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}

/** Waits until a roaming guest has come to its shell so many times. */
export async function untilBooted(cluster: LabCluster, name: string, boots: number): Promise<void> {
  for (const end = performance.now() + 120_000; (await bootsOf(cluster, name)) < boots;) {
    if (performance.now() > end) throw new Error(`${name} booted ${await bootsOf(cluster, name)} times, not ${boots}`);
    await delay(100);
  }
}

/**
 * Moves a guest `count` times, each with a fault.
 *
 * @param random As Math.random.
 * @param disk The VirtualDisk that is made for it in a pool of the node, and goes with it; none when left out.
 */
export async function faultRun(
  cluster: LabCluster,
  guest: Guest,
  count: number,
  random: () => number,
  log: (line: string) => void,
  disk?: string,
): Promise<FaultRun> {
  const name = 'roamer';
  const disks = cluster.lab.client.resource<VirtualDisk>(ourKind('VirtualDisk'));
  if (disk !== undefined) await makeMarkedDisk(cluster, disks, disk);
  // The guest writes to its first disk.
  const volumes =
    disk === undefined
      ? []
      : [
          { name: 'own', emptyDisk: { capacity: '16Mi' } },
          { name: 'data', virtualDisk: disk },
        ];
  await cluster.create(name, { ...roamingGuest(cluster, guest, name), volumes });
  await untilBooted(cluster, name, 1);
  await cluster.untilStatus(name, 'Running');
  const failures: string[] = [];
  let moved = 0;
  for (let index = 0; index < count; index += 1) {
    const fault = faults[index % faults.length] ?? 'nothing';
    const afterMs = Math.floor(random() * (disk === undefined ? 3_000 : 5_000));
    try {
      const isThere = await tell(cluster, name, fault, afterMs, random, disk);
      if (disk !== undefined) await isOnOneNode(cluster, disks, disk, (await cluster.get(name)).spec.nodeName ?? '');
      if (isThere) moved += 1;
      log(`${index + 1}/${count} ${fault} after ${afterMs} ms: ${isThere ? 'moved' : 'stayed'}`);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      failures.push(`${fault} after ${afterMs} ms: ${message}`);
      log(`${index + 1}/${count} ${fault} after ${afterMs} ms: WRONG: ${message}`);
    }
  }
  await cluster.delete(name);
  if (disk !== undefined) await disks.delete({ namespace: 'default', name: disk });
  return { migrations: count, moved, failures };
}

/** A disk on node-1 with a pattern in it. */
async function makeMarkedDisk(cluster: LabCluster, disks: ResourceClient<VirtualDisk>, name: string): Promise<void> {
  const ref = { namespace: 'default', name };
  await disks.create({
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk', metadata: ref },
    spec: { bindingMode: 'Immediate', nodeName: 'node-1', capacity: '48Mi' },
  });
  for (const end = performance.now() + 120_000; ;) {
    const { phase, path = '' } = (await disks.get(ref)).status ?? {};
    if (phase === 'Ready') {
      const write = ['-f', 'qcow2', '-c', 'write -P 0xab 24M 24M', path];
      await cluster.lab.node('node-1').libvirtd.exec('qemu-io', ...write);
      return;
    }
    if (performance.now() > end) throw new Error(`VirtualDisk ${name} is ${phase ?? 'Pending'}`);
    await delay(100);
  }
}

/** A disk is on the node that its machine is on, alone, and has its pattern. */
async function isOnOneNode(
  cluster: LabCluster,
  disks: ResourceClient<VirtualDisk>,
  name: string,
  at: string,
): Promise<void> {
  for (const end = performance.now() + 120_000; ;) {
    const { nodeName, path = '', move } = (await disks.get({ namespace: 'default', name })).status ?? {};
    const having: string[] = [];
    for (const node of cluster.lab.nodes) {
      const found = await node.libvirtd.exec('find', path.slice(0, path.lastIndexOf('/')), '-path', path);
      if (found.trim() !== '') having.push(node.name);
    }
    if (nodeName === at && move === undefined && having.join() === at) {
      const read = ['-r', '-U', '-f', 'qcow2', '-c', 'read -P 0xab 24M 24M', path];
      const said = await cluster.lab.node(at).libvirtd.exec('qemu-io', ...read);
      if (said.includes('failed')) throw new Error(`its disk is not as it was: ${said}`);
      return;
    }
    if (performance.now() > end) {
      throw new Error(
        `its disk should be on ${at} alone, and is on ${having.join()}: ${JSON.stringify({ nodeName, move })}`,
      );
    }
    await delay(100);
  }
}

/** One migration; whether the guest moved. */
async function tell(
  cluster: LabCluster,
  name: string,
  fault: Fault,
  afterMs: number,
  random: () => number,
  disk: string | undefined,
): Promise<boolean> {
  const { spec } = await cluster.get(name);
  const source = spec.nodeName ?? '';
  const others = cluster.lab.nodes.filter((node) => node.name !== source);
  const target = others[Math.floor(random() * others.length)]?.name ?? '';
  // About two seconds on the way.
  const copyStorage = disk === undefined ? 'Auto' : 'All';
  const migrate = { nodeName: target, copyStorage, bandwidthMiBPerSecond: 24, timeoutSeconds: 60 } as const;
  const operation = await cluster.ask(name, 'Migrate', { migrate });
  await delay(afterMs);
  await strike(cluster, fault, source, target, operation.metadata.name ?? '');
  await untilGoneOrOver(cluster, operation.metadata.name ?? '');
  const settled = await cluster.until(name, 'to run', ({ status }) => status?.printableStatus === 'Running');
  const at = settled.spec.nodeName ?? '';
  if (at !== source && at !== target) throw new Error(`it is said to be on ${at}`);
  // What a failed migration left at the target goes as soon as its executor looks.
  const end = performance.now() + 120_000;
  for (;;) {
    const domains = JSON.stringify(await cluster.domains(name));
    if (domains === JSON.stringify({ [at]: 'running' })) break;
    if (performance.now() > end) throw new Error(`it should be on ${at} alone, and is on ${domains}`);
    await delay(100);
  }
  const boots = await bootsOf(cluster, name);
  if (boots !== 1) throw new Error(`it booted ${boots} times`);
  return at === target;
}

async function strike(
  cluster: LabCluster,
  fault: Fault,
  source: string,
  target: string,
  operation: string,
): Promise<void> {
  const part = fault.endsWith('libvirtd') ? 'libvirtd' : 'executor';
  switch (fault) {
    case 'nothing':
      return;
    case 'called off':
      await cluster.operations.delete({ namespace: 'default', name: operation });
      return;
    case 'target cut off':
      await cluster.lab.node(target).partition();
      await delay(2_000);
      await cluster.lab.node(target).heal();
      return;
    default: {
      const names = fault.startsWith('both') ? [source, target] : [fault.startsWith('source') ? source : target];
      await Promise.all(names.map((name) => cluster.lab.node(name).kill(part)));
      await Promise.all(names.map((name) => cluster.lab.node(name).start(part)));
    }
  }
}

async function untilGoneOrOver(cluster: LabCluster, name: string): Promise<void> {
  const end = performance.now() + 120_000;
  for (;;) {
    const operation = await cluster.operations.find({ namespace: 'default', name });
    if (operation === undefined || ['Succeeded', 'Failed'].includes(operation.status?.phase ?? '')) return;
    if (performance.now() > end) throw new Error(`it is not over: ${JSON.stringify(operation.status)}`);
    await delay(50);
  }
}
