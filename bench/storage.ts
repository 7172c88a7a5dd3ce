/**
 * Images and disks beside what a user would type instead, the same files on the same libvirt in one run:
 *
 *   import (a file of the node)   virtctl apply of a VirtualImage    virsh vol-create-as && vol-upload
 *   import, converted             a raw file to qcow2                qemu-img convert, and sha256sum of the file
 *   upload                        virtctl image upload --wait        virsh vol-create-as && vol-upload
 *   download                      virtctl image download             virsh vol-download
 *   clone                         a VirtualDisk of a VirtualDisk     virsh vol-clone; qemu-img convert
 *   snapshots                     see storage/measure-snapshots.ts
 *
 * The file holds data that does not compress in half of it, and a hole.
 */
import { spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { median, type BenchReport, type BenchRow } from './bench-report.ts';
import { measureSnapshots } from './storage/measure-snapshots.ts';
import { startExecutorNode, type ExecutorNode } from '../test/support/executor-node.ts';

const rounds = 5;
const MiB = 1024 * 1024;
const dataBytes = 256 * MiB;
const holeBytes = 256 * MiB;
/** What is written over an external snapshot. */
const mergedBytes = 64 * MiB;
/** What starting virtctl, the API server and the executor's steps take, whatever the size. */
const constantMs = 600;
const cli = join(import.meta.dirname, '../dist/virtctl.js');

/** See the head of this file. */
export async function run(): Promise<BenchReport> {
  if (!existsSync(cli)) throw new Error('build first: npm run build');
  const node = await startExecutorNode();
  try {
    const bench = new StorageBench(node);
    await bench.prepare();
    const rows: BenchRow[] = [];
    for (const [what, contenders] of Object.entries(bench.contests())) {
      const times = new Map<string, number[]>();
      for (let round = -1; round < rounds; round += 1) {
        for (const [name, work] of Object.entries(contenders)) {
          const start = performance.now();
          await work(`${round + 1}`);
          const ms = performance.now() - start;
          await bench.clear(`${round + 1}`);
          if (round >= 0) times.set(name, [...(times.get(name) ?? []), ms]);
        }
      }
      const values = Object.fromEntries([...times].map(([name, all]) => [name, median(all)]));
      const [ours = NaN, ...others] = Object.values(values);
      const reached = ours <= Math.min(...others) * 1.2 + constantMs;
      rows.push({ what, unit: 'ms', values, goal: `≤ 1.2 × + ${constantMs} ms`, reached });
    }
    rows.push(...(await measureSnapshots(node, { rounds, raw: bench.raw, mergedBytes, constantMs, cli })));
    return {
      title: `Images and disks of ${dataBytes / MiB} MiB of data and a hole of ${holeBytes / MiB} MiB, median of ${rounds}`,
      rows,
      notes: [
        'virtctl computes and compares a SHA-256 of everything that comes and goes; virsh does not',
        `what is merged when an external snapshot is deleted: ${mergedBytes / MiB} MiB`,
      ],
    };
  } finally {
    await node.close();
  }
}

class StorageBench {
  readonly #node: ExecutorNode;
  readonly #folder: string;
  readonly #raw: string;
  readonly #qcow2: string;

  constructor(node: ExecutorNode) {
    this.#node = node;
    this.#folder = join(node.libvirtd.dir, 'pool');
    this.#raw = join(node.libvirtd.dir, 'disk.raw');
    this.#qcow2 = join(node.libvirtd.dir, 'disk.qcow2');
  }

  /** The data, as a raw file. */
  get raw(): string {
    return this.#raw;
  }

  async prepare(): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const file = await open(this.#raw, 'w');
    const chunk = Buffer.alloc(MiB);
    for (let at = 0; at < dataBytes; at += MiB) await file.write(randomFillSync(chunk), 0, MiB, at);
    await file.truncate(dataBytes + holeBytes);
    await file.close();
    await runProgram('qemu-img', ['convert', '-O', 'qcow2', this.#raw, this.#qcow2]);
    await this.#apply('VirtualPool', 'bench', { pool: { type: 'dir', target: { path: this.#folder } } });
    await this.#virtctl('wait', 'vpool/bench', '--for=condition=Ready', '--timeout=60s');
    await this.#apply('VirtualImage', 'kept', {
      pool: 'bench',
      source: { file: { path: this.#qcow2, checksum: 'none' } },
    });
    await this.#virtctl('wait', 'vimg/kept', '--for=condition=Ready', '--timeout=600s');
    const source = { image: { name: 'kept' } };
    await this.#apply('VirtualDisk', 'kept', { pool: 'bench', nodeName: this.#node.name, source });
    await this.#virtctl('wait', 'vdisk/kept', '--for=condition=Ready', '--timeout=600s');
  }

  contests(): Record<string, Record<string, (round: string) => Promise<void>>> {
    const at = (name: string): string => join(this.#node.libvirtd.dir, name);
    const image = async (round: string, path: string): Promise<void> => {
      await this.#apply('VirtualImage', `i${round}`, { pool: 'bench', source: { file: { path, checksum: 'none' } } });
      await this.#virtctl('wait', `vimg/i${round}`, '--for=condition=Ready', '--timeout=600s');
    };
    const upload = async (round: string): Promise<void> => {
      const { size } = await stat(this.#qcow2);
      await this.#virsh('vol-create-as', 'bench', `v${round}`, String(size), '--allocation', '0', '--format', 'raw');
      await this.#virsh('vol-upload', '--pool', 'bench', `v${round}`, this.#qcow2, '--sparse');
    };
    return {
      import: {
        'virtctl apply && wait': (round) => image(round, this.#qcow2),
        'cp && sha256sum && virsh vol-upload': async (round) => {
          await runProgram('cp', [this.#qcow2, at(`c${round}`)]);
          await runProgram('sha256sum', [at(`c${round}`)]);
          await upload(round);
        },
      },
      'import, converted': {
        'virtctl apply && wait': (round) => image(round, this.#raw),
        'cp && sha256sum && qemu-img convert': async (round) => {
          await runProgram('cp', [this.#raw, at(`c${round}`)]);
          await runProgram('sha256sum', [at(`c${round}`)]);
          await runProgram('qemu-img', ['convert', '-O', 'qcow2', at(`c${round}`), join(this.#folder, `v${round}`)]);
        },
      },
      upload: {
        'virtctl image upload': (round) =>
          this.#virtctl('image', 'upload', `i${round}`, this.#qcow2, '--pool', 'bench', '-c', this.#node.libvirtd.uri),
        'sha256sum && virsh vol-upload': async (round) => {
          await runProgram('sha256sum', [this.#qcow2]);
          await upload(round);
        },
      },
      download: {
        'virtctl image download': (round) =>
          this.#virtctl('image', 'download', 'kept', at(`c${round}`), '-c', this.#node.libvirtd.uri),
        'virsh vol-download && sha256sum': async (round) => {
          await this.#virsh('vol-download', '--pool', 'bench', 'image_default.kept.qcow2', at(`c${round}`), '--sparse');
          await runProgram('sha256sum', [at(`c${round}`)]);
        },
      },
      clone: {
        'virtctl apply && wait': async (round) => {
          const source = { clone: { name: 'kept' } };
          await this.#apply('VirtualDisk', `d${round}`, { pool: 'bench', nodeName: this.#node.name, source });
          await this.#virtctl('wait', `vdisk/d${round}`, '--for=condition=Ready', '--timeout=600s');
        },
        'virsh vol-clone': (round) =>
          this.#virsh('vol-clone', '--pool', 'bench', 'image_default.kept.qcow2', `v${round}`),
        'qemu-img convert': async (round) => {
          const from = join(this.#folder, 'image_default.kept.qcow2');
          await runProgram('qemu-img', ['convert', '-O', 'qcow2', from, join(this.#folder, `v${round}`)]);
        },
      },
    };
  }

  /** Removes what a round has made, so that the next finds the same. */
  async clear(round: string): Promise<void> {
    await this.#virtctl('delete', 'vimg', `i${round}`, '--ignore-not-found');
    await this.#virtctl('delete', 'vdisk', `d${round}`, '--ignore-not-found');
    await rm(join(this.#folder, `v${round}`), { force: true });
    await rm(join(this.#node.libvirtd.dir, `c${round}`), { force: true });
    await this.#virsh('pool-refresh', 'bench');
  }

  async #apply(kind: string, name: string, spec: object): Promise<void> {
    const path = join(this.#node.libvirtd.dir, 'object.json');
    const metadata = kind === 'VirtualPool' ? { name } : { name, namespace: this.#node.namespace };
    await writeFile(path, JSON.stringify({ apiVersion: 'virtctl.dev/v1alpha1', kind, metadata, spec }));
    await this.#virtctl('apply', '-f', path);
  }

  async #virtctl(...words: string[]): Promise<void> {
    await runProgram(process.execPath, [cli, ...words, '--kubeconfig', this.#node.kubeconfig]);
  }

  async #virsh(...words: string[]): Promise<void> {
    await runProgram('virsh', ['-q', '-c', this.#node.libvirtd.uri, ...words]);
  }
}

/** Runs a program to its end, however long that takes. */
async function runProgram(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve(status));
  });
  const [complaint, status] = await Promise.all([text(child.stderr), ended]);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${String(status)}: ${complaint}`);
}
