/**
 * Executor and libvirtd killed with SIGKILL at random moments while snapshots are taken, reverted to, deleted and cloned
 * from, and what must hold afterwards: every snapshot and operation comes to its end, and what is on each disk, now and in
 * each snapshot, is byte for byte what it was. `npm run soak -- snapshots` runs it in full, the tests a tenth.
 *
 * Machines that are off have no guest in the way: their disks are written to by qemu-io, and compared whole. In running
 * ones the guest writes a file and takes its checksum.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { commandLine } from './command-line.ts';
import { diskContent, writeDisk } from './disk-content.ts';
import { runProgram } from './run-program.ts';
import { startSnapshotWorld, type SnapshotWorld } from './snapshot-world.ts';
import type { VirtualMachineSnapshotSpec } from '../../src/api/virtual-machine-snapshot.ts';

/** What is killed. */
const victims = ['executor', 'libvirtd', 'both'] as const;
type Victim = (typeof victims)[number];

/** What is done meanwhile. */
type Deed = 'create' | 'revert' | 'delete' | 'clone';

type Mode = 'Internal' | 'External';

/** A machine of the run, with the checksums that must hold. */
interface Subject {
  readonly name: string;
  readonly mode: Mode;
  readonly isLive: boolean;
  /** Of the machine as it is. */
  now: string;
  /** Of its snapshots, by name. */
  readonly then: Map<string, string>;
}

/** What a run came to. */
export interface SnapshotRun {
  readonly rounds: number;
  readonly kills: number;
  readonly deeds: Readonly<Record<string, number>>;
  /** Checksums that were compared. */
  readonly compared: number;
  readonly failures: readonly string[];
}

const slots = [
  { mode: 'External', isLive: false },
  { mode: 'Internal', isLive: false },
  { mode: 'External', isLive: true },
  { mode: 'External', isLive: false },
  { mode: 'Internal', isLive: false },
  { mode: 'Internal', isLive: true },
] as const;

/** More than this are not kept of a machine. */
const maxSnapshots = 4;
const capacityBytes = 8 * 1024 * 1024;

/**
 * Does `rounds` deeds, each with a kill.
 *
 * @param random As Math.random.
 * @throws Error when the node itself cannot be started.
 */
export async function snapshotRun(
  rounds: number,
  random: () => number,
  log: (line: string) => void,
): Promise<SnapshotRun> {
  const world = await startSnapshotWorld();
  const run = new Run(world, random);
  try {
    for (let index = 0; index < rounds; index += 1) {
      const line = await run.round(index);
      log(`${index + 1}/${rounds} ${line}`);
    }
    for (const failure of await run.finish()) log(`at the end: WRONG: ${failure}`);
    return run.figures(rounds);
  } finally {
    await world.node.close();
  }
}

class Run {
  readonly #world: SnapshotWorld;
  readonly #random: () => number;
  readonly #subjects = new Map<string, Subject>();
  readonly #failures: string[] = [];
  readonly #deeds: Record<string, number> = {};
  #kills = 0;
  #compared = 0;
  #number = 0;

  constructor(world: SnapshotWorld, random: () => number) {
    this.#world = world;
    this.#random = random;
  }

  /** One deed with a kill, on the machine whose turn it is. */
  async round(index: number): Promise<string> {
    const slot = slots[index % slots.length] ?? slots[0];
    const key = `${slot.mode} ${slot.isLive ? 'running' : 'off'}`;
    const victim = this.#pick(victims);
    const afterMs = Math.floor(this.#random() ** 2 * 2_500);
    let told = key;
    try {
      let subject = this.#subjects.get(key);
      if (subject === undefined) {
        subject = await this.#newSubject(slot.mode, slot.isLive, index);
        this.#subjects.set(key, subject);
      }
      const deed = this.#choose(subject, index);
      this.#deeds[deed] = (this.#deeds[deed] ?? 0) + 1;
      told = `${key}: ${deed}, ${victim} killed after ${afterMs} ms`;
      await this.#write(subject);
      await this.#do(subject, deed, () => this.#kill(victim, afterMs));
      await this.#check(subject);
      return `${told}: as it should be`;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#failures.push(`${told}: ${message}`);
      // The next round of this sort begins with another machine.
      this.#subjects.delete(key);
      return `${told}: WRONG: ${message}`;
    }
  }

  /** All snapshots go: the disks are as they were, in one file each. */
  async finish(): Promise<string[]> {
    const before = this.#failures.length;
    const { disks } = this.#world;
    for (const [key, subject] of this.#subjects) {
      try {
        for (const name of [...subject.then.keys()]) {
          await this.#world.dropSnapshot(name);
          subject.then.delete(name);
        }
        await this.#check(subject);
        for (const disk of disksOf(subject)) {
          const chain = (await disks.get(this.#world.at(disk))).status?.backingChain ?? [];
          if (chain.length > 0) throw new Error(`${disk} still lies over ${chain.join(', ')}`);
        }
        const files = await this.#world.files(`default.${subject.name}.`);
        const more = await this.#world.files(`default.${subject.name}-b.`);
        if (files.length + more.length !== disksOf(subject).length) {
          throw new Error(`files were left: ${[...files, ...more].join(', ')}`);
        }
      } catch (error) {
        this.#failures.push(`${key}, at the end: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return this.#failures.slice(before);
  }

  figures(rounds: number): SnapshotRun {
    return { rounds, kills: this.#kills, deeds: this.#deeds, compared: this.#compared, failures: this.#failures };
  }

  #pick<T>(list: readonly T[]): T {
    const one = list[Math.floor(this.#random() * list.length)];
    if (one === undefined) throw new Error('there is nothing to pick from');
    return one;
  }

  #choose({ then, isLive }: Subject, index: number): Deed {
    if (then.size === 0) return 'create';
    // A clone of a running machine takes and merges a snapshot, which the other deeds do already.
    if (!isLive && index % 7 === 6) return 'clone';
    if (then.size >= maxSnapshots) return this.#pick(['revert', 'delete']);
    return this.#pick(['create', 'create', 'revert', 'delete']);
  }

  async #newSubject(mode: Mode, isLive: boolean, index: number): Promise<Subject> {
    const name = `${isLive ? 'live' : 'still'}-${mode.toLowerCase().slice(0, 3)}-${index}`;
    const subject: Subject = { name, mode, isLive, now: '', then: new Map() };
    if (isLive) {
      await this.#world.machine(name);
      return subject;
    }
    for (const disk of disksOf(subject).slice(1)) {
      await this.#world.disks.create({
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'VirtualDisk',
        metadata: this.#world.at(disk),
        spec: { pool: 'local', nodeName: this.#world.node.name, capacity: String(capacityBytes) },
      });
    }
    const volumes = disksOf(subject).map((virtualDisk, at) => ({
      name: `disk${at}`,
      virtualDisk,
      target: { dev: `vd${'ab'[at] ?? ''}` },
    }));
    await this.#world.machine(name, { capacity: String(capacityBytes) }, { runStrategy: 'Halted', spec: { volumes } });
    return subject;
  }

  /** Other content than before. */
  async #write(subject: Subject): Promise<void> {
    if (subject.isLive) {
      const command = 'dd if=/dev/urandom of=/data/x bs=1M count=2 2>/dev/null; sync';
      await this.#world.sh(subject.name, command);
    } else {
      for (const disk of disksOf(subject)) {
        const { path = '', format = '' } = (await this.#world.disks.get(this.#world.at(disk))).status ?? {};
        await writeDisk(path, format, {
          byte: 1 + Math.floor(this.#random() * 254),
          offsetBytes: Math.floor(this.#random() * 7) * 1024 * 1024,
          bytes: 700 * 1024,
        });
      }
    }
    subject.now = await this.#sumOf(subject);
  }

  async #do(subject: Subject, deed: Deed, kill: () => Promise<void>): Promise<void> {
    const { node } = this.#world;
    const { name, mode } = subject;
    if (deed === 'create') {
      this.#number += 1;
      const snapshot = `${name}-s${this.#number}`;
      const spec: Partial<VirtualMachineSnapshotSpec> = { mode, memory: subject.isLive && this.#random() < 0.5 };
      await this.#world.ask(name, snapshot, spec);
      await kill();
      await this.#world.ready(snapshot);
      subject.then.set(snapshot, subject.now);
      return;
    }
    if (deed === 'clone') {
      const copy = `${name}-c${(this.#number += 1)}`;
      const args = ['clone', 'vm', name, copy, '--no-start', '--node', node.name, '--kubeconfig', node.kubeconfig];
      const [{ exitCode, stderr }] = await Promise.all([commandLine(args), kill()]);
      if (exitCode !== 0) throw new Error(`the clone failed: ${stderr}`);
      const copies = disksOf(subject).map((_disk, at) => `${copy}-disk${at}`);
      this.#compare(await this.#sumOfDisks(copies), subject.now, 'the clone');
      await node.delete(copy);
      for (const disk of copies) await this.#world.drop(this.#world.disks, disk);
      return;
    }
    const snapshot = this.#pick([...subject.then.keys()]);
    if (deed === 'delete') {
      await this.#world.snapshots.delete(this.#world.at(snapshot));
      await kill();
      await this.#world.dropSnapshot(snapshot);
      subject.then.delete(snapshot);
      return;
    }
    const operation = await node.ask(name, 'Revert', { revert: { snapshot } });
    await kill();
    const { status } = await node.untilOver(operation);
    if (status?.phase !== 'Succeeded') throw new Error(`the revert failed: ${JSON.stringify(status)}`);
    subject.now = subject.then.get(snapshot) ?? '';
  }

  async #kill(victim: Victim, afterMs: number): Promise<void> {
    const { node } = this.#world;
    await delay(afterMs);
    if (victim !== 'libvirtd') await node.stopExecutor('SIGKILL');
    if (victim !== 'executor') await node.libvirtd.restart('KILL');
    if (victim !== 'libvirtd') await node.startExecutor();
    this.#kills += victim === 'both' ? 2 : 1;
  }

  async #check(subject: Subject): Promise<void> {
    const { libvirtd } = this.#world.node;
    this.#compare(await this.#sumOf(subject), subject.now, 'the machine');
    const known = (await libvirtd.virsh('snapshot-list', `default.${subject.name}`, '--name')).split('\n');
    const there = known.filter((name) => name !== '').sort();
    const wanted = [...subject.then.keys()].sort();
    if (there.join() !== wanted.join()) throw new Error(`libvirt has ${there.join()}, not ${wanted.join()}`);
    if (subject.isLive) return;
    for (const [name, sum] of subject.then) this.#compare(await this.#sumOfSnapshot(name), sum, name);
  }

  #compare(seen: string, wanted: string, what: string): void {
    this.#compared += 1;
    if (seen !== wanted) throw new Error(`${what} has ${seen}, not ${wanted}`);
  }

  async #sumOf(subject: Subject): Promise<string> {
    if (!subject.isLive) return this.#sumOfDisks(disksOf(subject));
    return this.#world.sh(subject.name, 'echo 3 >/proc/sys/vm/drop_caches; sha256sum /data/x');
  }

  async #sumOfDisks(names: readonly string[]): Promise<string> {
    const sums: string[] = [];
    for (const name of names) {
      const { path = '', format = '' } = (await this.#world.disks.get(this.#world.at(name))).status ?? {};
      await runProgram('qemu-img', ['check', '-q', '-f', format, path]);
      sums.push(await diskContent(path, format));
    }
    return sums.join(' ');
  }

  /** What a snapshot of a machine that is off has, disk by disk. */
  async #sumOfSnapshot(name: string): Promise<string> {
    const { status } = await this.#world.snapshots.get(this.#world.at(name));
    const sums: string[] = [];
    for (const { mode, path = '', format = '' } of status?.disks ?? []) {
      sums.push(await diskContent(path, format, mode === 'Internal' ? status?.name : undefined));
    }
    return sums.join(' ');
  }
}

function disksOf({ name, isLive }: Subject): string[] {
  return isLive ? [name] : [name, `${name}-b`];
}
