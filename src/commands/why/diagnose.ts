/**
 * Why a machine is not running, as a chain of causes: a pure function of what the API and, if at hand, the host know.
 *
 *   asked to run? ─▶ has a node? ─▶ the node lives? ─▶ volumes and networks? ─▶ defined? ─▶ started? ─▶ runs
 *
 * Each link is fine, or the reason; what comes after the first reason is not looked at. Of a machine that is being deleted
 * only the node matters, and what keeps the object.
 */
import { dirname } from 'node:path/posix';
import { makeMissing } from './make-missing.ts';
import { diskOfVolume } from '../../api/empty-disk.ts';
import { findCondition, group } from '../../api/meta.ts';
import type { Condition } from '../../api/meta.ts';
import type { Hypervisor } from '../../api/hypervisor.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';

/** What is known. */
export interface Facts {
  readonly machine: VirtualMachine;
  /** Those of this machine. */
  readonly operations: readonly VirtualMachineOperation[];
  /** All nodes. */
  readonly nodes: readonly Hypervisor[];
  /** The machine's node, if it has one and it exists. */
  readonly hypervisor: Hypervisor | undefined;
  /** When the node's executor was last heard of, in milliseconds since 1970; undefined when never. */
  readonly executorSeenAt: number | undefined;
  /** The node's executor counts as gone after this many milliseconds. */
  readonly leaseMs: number;
  readonly now: number;
}

/** One link of the chain. */
export interface Link {
  readonly status: 'ok' | 'waiting' | 'broken';
  readonly about: string;
  readonly message: string;
}

/** The answer. */
export interface Diagnosis {
  /** One line: the state and the reason. */
  readonly summary: string;
  readonly chain: readonly Link[];
  /** The command that would mend it. */
  readonly fix: string | undefined;
}

type Step = (facts: Facts) => Link & { readonly fix?: string | undefined };

/** Finds the first link that does not hold. */
export function diagnose(facts: Facts): Diagnosis {
  const chain: Link[] = [];
  for (const step of stepsFor(facts.machine)) {
    const { fix, ...link } = step(facts);
    chain.push(link);
    if (link.status !== 'ok') return { summary: summaryOf(facts.machine, link), chain, fix };
  }
  const { machine } = facts;
  const waiting = machine.status?.restartRequired ?? [];
  if (waiting.length > 0) {
    const fields = waiting.map(({ path, message }) => (message === undefined ? path : `${path} (${message})`));
    chain.push({ about: 'changes', status: 'waiting', message: `for the next start: ${fields.join(', ')}` });
  }
  const drifted = driftLink(machine);
  if (drifted !== undefined) chain.push(drifted);
  const restart = `virtctl restart ${nameOf(machine)} ${namespaceFlag(machine)}`;
  const enforce = `kubectl patch vm ${nameOf(machine)} ${namespaceFlag(machine)} --type merge -p '{"spec":{"driftPolicy":"Enforce"}}'`;
  const fix = waiting.length > 0 ? restart : drifted === undefined ? undefined : enforce;
  return { summary: summaryOf(machine, undefined), chain, fix };
}

/** What somebody changed behind our back and was left so. */
function driftLink({ status }: VirtualMachine): Link | undefined {
  const drift = status?.drift ?? [];
  if (drift.length === 0 || findCondition(status, 'Synchronized')?.reason !== 'Drifted') return undefined;
  const fields = drift.map(({ path, from, to, message }) => {
    const values =
      from === undefined && to === undefined ? [] : [`is ${from ?? 'nothing'}, spec has ${to ?? 'nothing'}`];
    const said = [...values, ...(message === undefined ? [] : [message])].join('; ');
    return said === '' ? path : `${path} (${said})`;
  });
  return { about: 'drift', status: 'waiting', message: `changed behind our back, and left so: ${fields.join(', ')}` };
}

function stepsFor(machine: VirtualMachine): readonly Step[] {
  const { deletionTimestamp } = machine.metadata;
  if (deletionTimestamp === undefined || deletionTimestamp === null) {
    return [powerWish, placement, nodeAlive, prepared, definition, power];
  }
  // Nobody but the node's executor takes our finalizer away; others' are no business of its.
  const isOurs = ownFinalizer(machine) !== undefined && (machine.spec.nodeName ?? '') !== '';
  return isOurs ? [nodeAlive, deletion] : [deletion];
}

function summaryOf(machine: VirtualMachine, reason: Link | undefined): string {
  const state = machine.status?.printableStatus ?? 'Unknown';
  return reason === undefined ? state : `${state}: ${reason.message}`;
}

const nameOf = (machine: VirtualMachine): string => machine.metadata.name ?? '';
const namespaceFlag = (machine: VirtualMachine): string => `-n ${machine.metadata.namespace ?? 'default'}`;

const ownFinalizer = ({ metadata }: VirtualMachine): string | undefined =>
  metadata.finalizers?.find((one) => one.startsWith(`${group}/`));

const deletion: Step = ({ machine }) => {
  const about = 'deletion';
  if (machine.spec.deletionProtection === true && ownFinalizer(machine) !== undefined) {
    const lift = `-p '{"spec":{"deletionProtection":false}}'`;
    return {
      about,
      status: 'broken',
      message: 'it is being deleted, but protected: nothing is removed until spec.deletionProtection is false',
      fix: `kubectl patch vm ${nameOf(machine)} ${namespaceFlag(machine)} --type merge ${lift}`,
    };
  }
  const ready = findCondition(machine.status, 'Ready');
  if (ready?.reason === 'Terminating' && (ready.message ?? '') !== '' && ownFinalizer(machine) !== undefined) {
    return { about, status: 'waiting', message: `it is being deleted: ${ready.message ?? ''}` };
  }
  const finalizers = machine.metadata.finalizers?.join(', ') ?? '';
  return { about, status: 'waiting', message: `it is being deleted; waits for ${finalizers}` };
};

const powerWish: Step = ({ machine, operations }) => {
  const about = 'power';
  const name = nameOf(machine);
  const start = `virtctl start ${name} ${namespaceFlag(machine)}`;
  const running = operations.find(({ status }) => status?.phase === 'Running');
  if (running !== undefined) {
    const { verb } = running.spec;
    const step = running.status?.step;
    const message = `operation ${verb} goes on${step === undefined ? '' : `, at step ${step}`}`;
    return {
      about,
      status: 'waiting',
      message,
      fix: `virtctl get vmop ${running.metadata.name ?? ''} ${namespaceFlag(machine)}`,
    };
  }
  const ready = findCondition(machine.status, 'Ready');
  if (ready?.reason === 'MigrationUnclear') {
    const target = machine.status?.migration?.targetNode ?? '';
    const fix = `virtctl node describe ${target}; its executor and libvirtd have to run`;
    return { about: 'migration', status: 'waiting', message: ready.message ?? '', fix };
  }
  const strategy = machine.spec.runStrategy ?? 'Always';
  if (strategy === 'Halted') {
    // Started, it would still not run.
    const scheduled = findCondition(machine.status, 'Scheduled');
    const isPlaced = (machine.spec.nodeName ?? '') !== '' || scheduled?.status !== 'False';
    const beside = isPlaced ? '' : `; and no node takes it: ${scheduled.message ?? 'no node fits'}`;
    return { about, status: 'broken', message: `it is not asked to run (Halted)${beside}`, fix: start };
  }
  if (machine.status?.domain?.savedState === true && machine.status.domain.state !== 'running') {
    return { about, status: 'broken', message: 'its memory is saved on disk', fix: start };
  }
  const off = machine.status?.domain?.state === 'shutoff';
  if (off && strategy === 'Manual') {
    return { about, status: 'broken', message: 'it runs only when started (Manual), and is off', fix: start };
  }
  if (off && machine.status.printableStatus === 'Completed') {
    return { about, status: 'broken', message: `its guest shut down, and ${strategy} leaves it off`, fix: start };
  }
  return { about, status: 'ok', message: `asked to run (${strategy})` };
};

const placement: Step = ({ machine, nodes }) => {
  const about = 'node';
  const nodeName = machine.spec.nodeName ?? '';
  if (nodeName !== '') return { about, status: 'ok', message: `on node ${nodeName}` };
  const scheduled = findCondition(machine.status, 'Scheduled');
  if (scheduled?.status === 'False') {
    return {
      about,
      status: 'broken',
      message: scheduled.message ?? 'no node fits',
      fix: roomFor(scheduled.message ?? '', nodes),
    };
  }
  const message = nodes.length === 0 ? 'it has no node, and there are none' : 'it waits for a node';
  const patch = `virtctl executor --node-name NAME`;
  return {
    about,
    status: 'waiting',
    message,
    fix: nodes.length === 0 ? patch : 'virtctl doctor --only control-plane (does the scheduler run?)',
  };
};

/** What makes a node fit, by the reason that most easily changes. */
function roomFor(message: string, nodes: readonly Hypervisor[]): string {
  if (message.includes('where KVM cannot be used')) {
    const isWithout = ({ spec, status }: Hypervisor): boolean =>
      spec.allowEmulation !== true && findCondition(status, 'KVMUsable')?.status !== 'True';
    const { first, others } = choice(nodes.filter(isWithout));
    return `kubectl patch hv ${first} --type merge -p '{"spec":{"allowEmulation":true}}'${others}`;
  }
  if (message.includes(' cordoned')) {
    const { first, others } = choice(nodes.filter(({ spec }) => spec.unschedulable === true));
    return `virtctl node uncordon ${first}${others}`;
  }
  return 'virtctl node list -o wide';
}

/** Nodes that a line names at most, beside the first. */
const maxOthers = 5;

/** One of some nodes for a command, and the words that name the others. */
function choice(nodes: readonly Hypervisor[]): { readonly first: string; readonly others: string } {
  const [first, ...others] = nodes.map(({ metadata }) => metadata.name ?? '').sort();
  // The scheduler's words are older than what the nodes say now.
  if (first === undefined) return { first: 'NODE', others: ' (virtctl node list says which)' };
  if (others.length === 0) return { first, others: '' };
  const more = others.length > maxOthers ? ', …' : '';
  return { first, others: ` (or ${others.slice(0, maxOthers).join(', ')}${more})` };
}

const nodeAlive: Step = ({ machine, hypervisor, executorSeenAt, leaseMs, now }) => {
  const about = 'executor';
  const nodeName = machine.spec.nodeName ?? '';
  const look = `systemctl status virtctl-executor, on ${nodeName}`;
  if (hypervisor === undefined) {
    const message = `node ${nodeName} has never reported`;
    return { about, status: 'broken', message, fix: `virtctl executor --node-name ${nodeName}, on that host` };
  }
  if (executorSeenAt === undefined || now - executorSeenAt > leaseMs) {
    const since = executorSeenAt === undefined ? 'ever' : `for ${Math.round((now - executorSeenAt) / 1000)} s`;
    const message = `the executor of ${nodeName} has not been heard of ${since}; what is said here may be old`;
    return { about, status: 'broken', message, fix: look };
  }
  const connected = findCondition(hypervisor.status, 'LibvirtConnected');
  if (connected?.status === 'False') {
    const message = `the executor cannot reach libvirt: ${connected.message ?? ''}`;
    return { about, status: 'broken', message, fix: 'systemctl status libvirtd virtqemud, on that node' };
  }
  const generation = machine.metadata.generation ?? 0;
  if ((machine.status?.observedGeneration ?? -1) < generation) {
    return { about, status: 'waiting', message: 'the executor has not taken up the last change yet' };
  }
  return { about, status: 'ok', message: 'alive, and connected to libvirt' };
};

/** Reasons of Ready that are about what the machine needs, and where to look. */
const needs: Readonly<Record<string, string>> = {
  VolumeNotReady: 'virtctl get vdisk',
  NetworkNotReady: 'virtctl get vnet',
  SecretNotFound: 'kubectl get secret',
};

const prepared: Step = ({ machine }) => {
  const about = 'volumes and networks';
  // A machine that runs goes on running: then Synchronized alone tells what its change waits for.
  for (const type of ['Ready', 'Synchronized']) {
    const condition = findCondition(machine.status, type);
    const look = needs[condition?.reason ?? ''];
    if (condition?.status !== 'False' || look === undefined) continue;
    const fix = makeMissing(condition.message ?? '') ?? lookAt(condition.message ?? '') ?? look;
    return { about, status: 'broken', message: wordsOf(condition), fix: `${fix} ${namespaceFlag(machine)}` };
  }
  const failed = machine.status?.volumes?.find(({ phase }) => phase === 'Failed');
  if (failed !== undefined) {
    const volume = machine.spec.volumes?.find(({ name }) => name === failed.name);
    const disk = volume === undefined ? undefined : diskOfVolume(machine, volume);
    const look = disk === undefined ? `vm ${nameOf(machine)}` : `vdisk ${disk}`;
    const fix = `virtctl describe ${look} ${namespaceFlag(machine)}`;
    return { about, status: 'broken', message: `volume ${failed.name}: ${failed.message ?? 'failed'}`, fix };
  }
  return { about, status: 'ok', message: 'there' };
};

/** The page of the disk that a message says is not ready: its conditions and events tell what it lacks. */
function lookAt(message: string): string | undefined {
  const disk = /VirtualDisk "([a-z0-9.-]+)" is (?:Failed|Pending)\b/.exec(message)?.[1];
  return disk === undefined ? undefined : `virtctl describe vdisk ${disk}`;
}

const definition: Step = ({ machine }) => {
  const about = 'definition';
  const synchronized = findCondition(machine.status, 'Synchronized');
  if (synchronized?.status === 'False' && synchronized.reason !== 'Drifted') {
    const edit = `virtctl edit vm ${nameOf(machine)} ${namespaceFlag(machine)}`;
    // The executor knows whose it is, and says last what mends that.
    const remedy =
      synchronized.reason === 'ForeignDomain' ? /.*; (.+)$/s.exec(synchronized.message ?? '')?.[1] : undefined;
    return { about, status: 'broken', message: wordsOf(synchronized), fix: remedy ?? edit };
  }
  const ready = findCondition(machine.status, 'Ready');
  if (ready?.status === 'False' && ready.reason === 'KVMUnusable') {
    const node = machine.spec.nodeName ?? '';
    const patch = `kubectl patch hv ${node} --type merge -p '{"spec":{"allowEmulation":true}}'`;
    return {
      about,
      status: 'broken',
      message: wordsOf(ready),
      fix: `virtctl doctor --only node, on ${node}; or ${patch}`,
    };
  }
  return { about, status: 'ok', message: `libvirt has it as ${machine.status?.domain?.name ?? 'its domain'}` };
};

const power: Step = ({ machine, now }) => {
  const about = 'guest';
  const { status } = machine;
  const restart = `virtctl start ${nameOf(machine)} ${namespaceFlag(machine)}`;
  const logs = `virtctl logs ${nameOf(machine)} ${namespaceFlag(machine)} --tail 20`;
  if (status?.printableStatus === 'Running') return { about, status: 'ok', message: 'it runs' };
  if (status?.printableStatus === 'Paused') {
    const reason = status.domain?.reason ?? 'somebody paused it';
    const fix = `virtctl unpause ${nameOf(machine)} ${namespaceFlag(machine)}`;
    if (reason === 'io-error') return heldByStorage(machine, fix);
    return { about, status: 'broken', message: `its CPUs are paused (${reason})`, fix };
  }
  const { failures } = status ?? {};
  if (status?.printableStatus === 'CrashLoopBackOff' && failures !== undefined) {
    const wait = Math.max(0, Math.round((Date.parse(failures.nextAttemptAt ?? '') - now) / 1000));
    const next = Number.isNaN(wait) ? '' : `; next attempt in ${wait} s`;
    const message = `it failed ${failures.count} times: ${failures.message ?? 'no reason given'}${next}`;
    const missing = /there is no file (\/\S*) on node (\S+?)(?:;| any more)/.exec(failures.message ?? '');
    const first = missing === null ? logs : `ls -l ${missing[1] ?? ''}, on ${missing[2] ?? ''}`;
    return { about, status: 'broken', message, fix: `${first}; then ${restart} to try at once` };
  }
  const ready = findCondition(status, 'Ready');
  if (ready?.reason === 'StartNotEnding') {
    const node = machine.spec.nodeName ?? '';
    const fix = `wait while QEMU allocates memory (top, on ${node}); else mend libvirt's note as said above`;
    return { about, status: 'broken', message: wordsOf(ready), fix };
  }
  if (ready?.status === 'False') return { about, status: 'broken', message: wordsOf(ready), fix: logs };
  return { about, status: 'waiting', message: `${status?.printableStatus ?? 'nothing'} is all that is known` };
};

/**
 * QEMU holds a guest that cannot write to a disk, so that nothing is lost. Let go on too early it is held again at once:
 * the storage comes first.
 */
function heldByStorage(machine: VirtualMachine, unpause: string): ReturnType<Step> {
  const why = findCondition(machine.status, 'Paused')?.message ?? '';
  const message = `its CPUs are paused (io-error)${why === '' ? '' : `: ${why}`}`;
  const node = machine.spec.nodeName ?? '';
  const isFull = why.includes('there is no space left');
  const path = /\((\/[^)]*)\): there is no space left/.exec(why)?.[1];
  const place = path === undefined ? 'df -h' : `df -h ${dirname(path)}`;
  const first = isFull
    ? `free space first (${place}, on ${node})`
    : `see to the storage first (${place} and dmesg, on ${node})`;
  return { about: 'guest', status: 'broken', message, fix: `${first}; then ${unpause}` };
}

function wordsOf(condition: Condition): string {
  return `${condition.reason ?? ''}: ${condition.message ?? ''}`;
}
