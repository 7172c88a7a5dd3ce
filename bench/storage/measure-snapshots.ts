/**
 * Snapshots beside virsh and qemu-img: one machine of ours, one domain of the same definition that only virsh knows, and one
 * bare file, with equal disks. Each round takes a snapshot, changes the disk where that matters, goes back, and deletes it,
 * so that every round finds the same.
 *
 *   off                     virtctl snapshot …   virsh snapshot-…                             qemu-img snapshot -c, -a, -d
 *   running, with memory    virtctl snapshot …   virsh snapshot-…
 *   running, disks only     virtctl snapshot …   virsh snapshot-create-as --disk-only; blockcommit --active --pivot --wait
 *
 * libvirt 9.0 cannot revert to what is in other files, so that row has nobody beside it.
 */
import { copyFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { median, type BenchRow } from '../bench-report.ts';
import type { ExecutorNode } from '../../test/support/executor-node.ts';
import { bootsOf, consolePath, untilBoots } from '../../test/support/guest-machine.ts';
import { runProgram } from '../../test/support/run-program.ts';
import { SnapshotWorld } from '../../test/support/snapshot-world.ts';

/** What {@link measureSnapshots} works with. */
export interface SnapshotSizes {
  readonly rounds: number;
  /** What the disks hold, a raw file. */
  readonly raw: string;
  /** What is written over an external snapshot, and merged when it is deleted. */
  readonly mergedBytes: number;
  readonly constantMs: number;
  /** The program that is measured. */
  readonly cli: string;
}

type Phase = 'create' | 'revert' | 'delete';

/** How somebody does it, on a snapshot of a name. */
type Contender = Readonly<Partial<Record<Phase, (name: string) => Promise<void>>>> & {
  /** What happens between create and delete, and is not measured. */
  readonly change?: (name: string) => Promise<void>;
};

const ours = 'default.snap';
const beside = 'plain';

/** See the head of this file. */
export async function measureSnapshots(node: ExecutorNode, sizes: SnapshotSizes): Promise<BenchRow[]> {
  const bench = new SnapshotBench(node, sizes);
  await bench.prepare();
  const rows = await bench.contest('off', {
    virtctl: bench.virtctl([]),
    virsh: bench.virsh([]),
    'qemu-img': bench.qemuImg(),
  });
  await bench.start();
  rows.push(
    ...(await bench.contest('running, with memory', {
      virtctl: bench.virtctl(['--memory', '--mode', 'Internal']),
      virsh: bench.virsh([]),
    })),
    ...(await bench.contest('running, disks only', {
      virtctl: bench.virtctlExternal(),
      'virsh --disk-only, blockcommit': bench.virshExternal(),
    })),
  );
  await bench.remove();
  return rows;
}

class SnapshotBench {
  readonly #node: ExecutorNode;
  readonly #sizes: SnapshotSizes;
  readonly #world: SnapshotWorld;
  readonly #plain: string;
  readonly #bare: string;

  constructor(node: ExecutorNode, sizes: SnapshotSizes) {
    const { dir } = node.libvirtd;
    this.#node = node;
    this.#sizes = sizes;
    this.#world = new SnapshotWorld(node, join(dir, 'snapshots'));
    this.#plain = join(dir, 'plain.qcow2');
    this.#bare = join(dir, 'bare.qcow2');
  }

  /** Equal disks, and equal machines that are off. */
  async prepare(): Promise<void> {
    const { libvirtd } = this.#node;
    const { raw } = this.#sizes;
    await this.#world.pool('local', this.#world.folder);
    const { size } = await stat(raw);
    await this.#world.machine('snap', { capacity: String(size) }, { runStrategy: 'Manual' });
    const path = await this.#diskPath();
    await runProgram('qemu-img', ['convert', '-n', '-O', 'qcow2', raw, path]);
    for (const copy of [this.#plain, this.#bare]) await copyFile(path, copy);
    const made = await libvirtd.virsh('dumpxml', '--inactive', ours);
    const xml = made
      .replace(/<metadata>[^]*<\/metadata>/, '')
      .replace(/<uuid>[^<]*<\/uuid>/, '')
      .replace(`<name>${ours}</name>`, `<name>${beside}</name>`)
      .replace(path, this.#plain)
      .replaceAll(consolePath(this.#node, 'snap'), consolePath(this.#node, beside));
    const file = join(libvirtd.dir, 'plain.xml');
    await writeFile(file, xml);
    await libvirtd.virsh('define', file);
  }

  /** Both guests run, and have come to their shells. */
  async start(): Promise<void> {
    const [first, second] = [await bootsOf(this.#node, 'snap'), await bootsOf(this.#node, beside)];
    await this.#world.operate('snap', 'Start');
    await untilBoots(this.#node, 'snap', first + 1);
    await this.#node.libvirtd.virsh('start', beside);
    await untilBoots(this.#node, beside, second + 1);
  }

  async remove(): Promise<void> {
    await this.#node.libvirtd.virsh('destroy', beside);
    await this.#node.libvirtd.virsh('undefine', beside);
    await this.#world.operate('snap', 'Stop', { stop: { force: true } });
    await this.#node.delete('snap');
  }

  virtctl(flags: readonly string[]): Contender {
    return {
      create: (name) => this.#run('snapshot', 'create', 'snap', name, ...flags),
      revert: (name) => this.#run('snapshot', 'revert', name),
      delete: (name) => this.#run('snapshot', 'delete', name),
    };
  }

  virsh(flags: readonly string[]): Contender {
    return {
      create: (name) => this.#virsh('snapshot-create-as', beside, name, ...flags),
      revert: (name) => this.#virsh('snapshot-revert', beside, name),
      delete: (name) => this.#virsh('snapshot-delete', beside, name),
    };
  }

  qemuImg(): Contender {
    const call =
      (flag: string) =>
      async (name: string): Promise<void> => {
        await runProgram('qemu-img', ['snapshot', flag, name, this.#bare]);
      };
    return { create: call('-c'), revert: call('-a'), delete: call('-d') };
  }

  virtctlExternal(): Contender {
    return {
      create: (name) => this.#run('snapshot', 'create', 'snap', name, '--mode', 'External', '--quiesce', 'Never'),
      change: async () => this.#write(ours, await this.#diskPath()),
      delete: (name) => this.#run('snapshot', 'delete', name),
    };
  }

  virshExternal(): Contender {
    const overlay = (name: string): string => `${this.#plain}.${name}`;
    return {
      create: (name) => {
        const disk = `vda,snapshot=external,file=${overlay(name)}`;
        return this.#virsh('snapshot-create-as', beside, name, '--disk-only', '--atomic', '--diskspec', disk);
      },
      change: (name) => this.#write(beside, overlay(name)),
      delete: async (name) => {
        await this.#virsh('blockcommit', beside, 'vda', '--active', '--pivot', '--wait');
        await this.#virsh('snapshot-delete', beside, name, '--metadata');
        await rm(overlay(name));
      },
    };
  }

  /** A row for each thing that all of them do. */
  async contest(state: string, contenders: Readonly<Record<string, Contender>>): Promise<BenchRow[]> {
    const { rounds, constantMs } = this.#sizes;
    const times = new Map<Phase, Map<string, number[]>>();
    for (let round = -1; round < rounds; round += 1) {
      for (const [who, contender] of Object.entries(contenders)) {
        const name = `s${round + 1}`;
        for (const phase of ['create', 'change', 'revert', 'delete'] as const) {
          const work = contender[phase];
          if (work === undefined) continue;
          const start = performance.now();
          await work(name);
          const ms = performance.now() - start;
          if (phase === 'change' || round < 0) continue;
          const ofPhase = times.get(phase) ?? new Map<string, number[]>();
          times.set(phase, ofPhase.set(who, [...(ofPhase.get(who) ?? []), ms]));
        }
      }
    }
    return [...times].map(([phase, ofPhase]) => {
      const values = Object.fromEntries([...ofPhase].map(([who, all]) => [who, median(all)]));
      const [own = NaN, ...others] = Object.values(values);
      const reached = own <= Math.min(...others) * 1.2 + constantMs;
      const goal = `≤ 1.2 × + ${constantMs} ms`;
      return { what: `snapshot ${phase}, ${state}`, unit: 'ms', values, goal, reached };
    });
  }

  /** Has QEMU write into a running guest's disk, as the guest could, without asking it to. */
  async #write(domain: string, path: string): Promise<void> {
    const { mergedBytes } = this.#sizes;
    const device = '/machine/peripheral/virtio-disk0/virtio-backend';
    const command = `qemu-io -d ${device} "write -P 7 0 ${mergedBytes}"`;
    const said = await this.#node.libvirtd.virsh('qemu-monitor-command', domain, '--hmp', command);
    const { blocks } = await stat(path);
    if (blocks * 512 < mergedBytes) throw new Error(`nothing was written to ${path}: ${said}`);
  }

  async #diskPath(): Promise<string> {
    const { status } = await this.#world.disks.get(this.#world.at('snap'));
    if (status?.path === undefined) throw new Error('the disk has no file');
    return status.path;
  }

  async #run(...words: string[]): Promise<void> {
    await runProgram(process.execPath, [this.#sizes.cli, ...words, '--kubeconfig', this.#node.kubeconfig]);
  }

  async #virsh(...words: string[]): Promise<void> {
    await runProgram('virsh', ['-q', '-c', this.#node.libvirtd.uri, ...words]);
  }
}
