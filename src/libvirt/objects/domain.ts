import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullDomain } from '../protocol.gen.ts';
import type { LibvirtStream, StreamOptions } from '../stream.ts';
import { DomainBlocks } from './domain-blocks.ts';
import { DomainCheckpoints } from './domain-checkpoints.ts';
import {
  consoleFlags,
  destroyFlags,
  deviceFlags,
  dumpFlags,
  memoryFlags,
  saveFlags,
  shutdownFlags,
  startFlags,
  undefineFlags,
  vcpuFlags,
  xmlFlags,
} from './domain-flags.ts';
import { DomainGuest } from './domain-guest.ts';
import { DomainJob } from './domain-job.ts';
import { DomainSnapshots } from './domain-snapshots.ts';
import { domainStateOf, type DomainStateAndReason } from './domain-state.ts';
import { domainStatsOf, statsGroups, type DomainStats, type StatsGroup } from './domain-stats.ts';
import { DomainTuning } from './domain-tuning.ts';
import { affectFlags, flagBits, type AffectOptions, type Flags } from './flags.ts';
import { uuidToString } from './uuid.ts';
import { indexOf, wordAt } from './values.ts';

/** virDomainMetadataType, by number. */
const metadataTypes = ['description', 'title', 'element'] as const;
/** virKeycodeSet, by number. */
const keycodeSets = ['linux', 'xt', 'atset1', 'atset2', 'atset3', 'osx', 'xt_kbd', 'usb', 'win32', 'qnum'] as const;
/** virDomainControlState, by number. */
const controlStates = ['ok', 'job', 'occupied', 'error'] as const;
/** virDomainLifecycle and virDomainLifecycleAction, by number. */
const lifecycles = ['poweroff', 'reboot', 'crash'] as const;
const actions = ['destroy', 'restart', 'restart-rename', 'preserve', 'coredump-destroy', 'coredump-restart'] as const;

/** Options of {@link Domain.setMetadata}. */
export interface MetadataOptions extends AffectOptions, CallOptions {
  /** `element` needs `uri`, and `key` when it is set. */
  readonly type: (typeof metadataTypes)[number];
  /** The element's namespace. */
  readonly uri?: string | undefined;
  /** The namespace's prefix. */
  readonly key?: string | undefined;
}

/**
 * A domain: a handle of its name and UUID, not of its state. Options of every method also take `signal` and
 * `timeoutMs` (milliseconds) for the call. Methods throw what Connection.call throws: LibvirtError with libvirt's
 * answer, OutcomeUnknownError when none came.
 */
export class Domain {
  readonly #rpc: Connection;
  /** The domain as the protocol names it. */
  readonly ref: NonnullDomain;
  /** Jobs on its disks: commit, pull, copy, resize, throttling. */
  readonly blocks: DomainBlocks;
  /** What needs the guest agent. */
  readonly guest: DomainGuest;
  readonly snapshots: DomainSnapshots;
  readonly checkpoints: DomainCheckpoints;
  /** Scheduler, block I/O, memory, NUMA, pinning, I/O threads. */
  readonly tuning: DomainTuning;
  /** Migration and the progress of long operations. */
  readonly job: DomainJob;

  constructor(rpc: Connection, ref: NonnullDomain) {
    this.#rpc = rpc;
    this.ref = ref;
    this.blocks = new DomainBlocks(rpc, ref);
    this.guest = new DomainGuest(rpc, ref);
    this.snapshots = new DomainSnapshots(rpc, ref);
    this.checkpoints = new DomainCheckpoints(rpc, ref);
    this.tuning = new DomainTuning(rpc, ref);
    this.job = new DomainJob(rpc, ref);
  }

  get name(): string {
    return this.ref.name;
  }

  /** In lower case with dashes. */
  get uuid(): string {
    return uuidToString(this.ref.uuid);
  }

  /** The id that it ran under when it was looked up; undefined when it did not run. */
  get id(): number | undefined {
    return this.ref.id < 0 ? undefined : this.ref.id;
  }

  // What it is

  /** virDomainGetXMLDesc. `inactive` is the configuration for the next start; `secure` includes passwords. */
  async xml(options: Flags<typeof xmlFlags> & CallOptions = {}): Promise<string> {
    const args = { dom: this.ref, flags: flagBits(xmlFlags, options) };
    return (await this.#rpc.call('domainGetXmlDesc', args, options)).xml;
  }

  /** virDomainGetState. */
  async state(options: CallOptions = {}): Promise<DomainStateAndReason> {
    const { state, reason } = await this.#rpc.call('domainGetState', { dom: this.ref, flags: 0 }, options);
    return domainStateOf(state, reason);
  }

  /** virDomainGetInfo: sizes in KiB, time in nanoseconds. */
  async info(options: CallOptions = {}): Promise<DomainInfo> {
    const info = await this.#rpc.call('domainGetInfo', { dom: this.ref }, options);
    return {
      state: domainStateOf(info.state, 0).state,
      maxMemoryKiB: Number(info.maxMem),
      memoryKiB: Number(info.memory),
      vcpus: info.nrVirtCpu,
      cpuTimeNs: Number(info.cpuTime),
    };
  }

  /** Statistics of this domain alone; `Domains.stats` gives those of all in one call. */
  async stats(groups: readonly StatsGroup[] = [], options: CallOptions = {}): Promise<DomainStats> {
    const stats = groups.reduce((bits, group) => bits | statsGroups[group], 0);
    const { retStats } = await this.#rpc.call(
      'connectGetAllDomainStats',
      { doms: [this.ref], stats, flags: 0 },
      options,
    );
    return domainStatsOf(retStats[0] ?? { dom: this.ref, params: [] });
  }

  async isActive(options: CallOptions = {}): Promise<boolean> {
    return (await this.#rpc.call('domainIsActive', { dom: this.ref }, options)).active !== 0;
  }

  async isPersistent(options: CallOptions = {}): Promise<boolean> {
    return (await this.#rpc.call('domainIsPersistent', { dom: this.ref }, options)).persistent !== 0;
  }

  /** virDomainGetControlInfo: whether libvirt can talk to the hypervisor now, and for how long not (milliseconds). */
  async controlInfo(options: CallOptions = {}): Promise<{ state: string; details: number; stateTimeMs: number }> {
    const info = await this.#rpc.call('domainGetControlInfo', { dom: this.ref, flags: 0 }, options);
    const { details, stateTime } = info;
    return { state: wordAt(controlStates, info.state), details, stateTimeMs: Number(stateTime) };
  }

  /** virDomainGetMessages: what taints it and what is deprecated in it. */
  async messages(options: CallOptions = {}): Promise<readonly string[]> {
    return (await this.#rpc.call('domainGetMessages', { dom: this.ref, flags: 0 }, options)).msgs;
  }

  // Its life

  /** virDomainCreateWithFlags. `forceBoot` drops a managed save image. Returns the id that it runs under. */
  async start(options: Flags<typeof startFlags> & CallOptions = {}): Promise<number> {
    const args = { dom: this.ref, flags: flagBits(startFlags, options) };
    return (await this.#rpc.call('domainCreateWithFlags', args, options)).dom.id;
  }

  /** virDomainShutdownFlags: asks the guest and returns at once. */
  async shutdown(options: Flags<typeof shutdownFlags> & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, flags: flagBits(shutdownFlags, options) };
    await this.#rpc.call('domainShutdownFlags', args, options);
  }

  /** virDomainReboot: asks the guest and returns at once. */
  async reboot(options: Flags<typeof shutdownFlags> & CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainReboot', { dom: this.ref, flags: flagBits(shutdownFlags, options) }, options);
  }

  /** virDomainReset: the reset button. */
  async reset(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainReset', { dom: this.ref, flags: 0 }, options);
  }

  /** virDomainDestroyFlags: pulls the plug. `graceful` fails instead of killing a process that does not end. */
  async destroy(options: Flags<typeof destroyFlags> & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, flags: flagBits(destroyFlags, options) };
    await this.#rpc.call('domainDestroyFlags', args, options);
  }

  /** virDomainSuspend: stops the processors; memory stays. */
  async suspend(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainSuspend', { dom: this.ref }, options);
  }

  async resume(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainResume', { dom: this.ref }, options);
  }

  /** virDomainPMWakeup: after the guest suspended itself. */
  async pmWakeup(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainPmWakeup', { dom: this.ref, flags: 0 }, options);
  }

  /** virDomainManagedSave: to disk; the next start goes on from there. */
  async managedSave(options: Flags<typeof saveFlags> & CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainManagedSave', { dom: this.ref, flags: flagBits(saveFlags, options) }, options);
  }

  async hasManagedSave(options: CallOptions = {}): Promise<boolean> {
    const { result } = await this.#rpc.call('domainHasManagedSaveImage', { dom: this.ref, flags: 0 }, options);
    return result !== 0;
  }

  async removeManagedSave(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainManagedSaveRemove', { dom: this.ref, flags: 0 }, options);
  }

  /** virDomainSaveFlags: into a file of the host; `Domains.restore` reads it. */
  async save(path: string, options: Flags<typeof saveFlags> & { xml?: string } & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, to: path, dxml: options.xml ?? null, flags: flagBits(saveFlags, options) };
    await this.#rpc.call('domainSaveFlags', args, options);
  }

  /** virDomainCoreDump, raw format, into a file of the host. */
  async coreDump(path: string, options: Flags<typeof dumpFlags> & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, to: path, flags: flagBits(dumpFlags, options) };
    await this.#rpc.call('domainCoreDump', args, options);
  }

  /** virDomainUndefineFlags. A running domain becomes transient. */
  async undefine(options: Flags<typeof undefineFlags> & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, flags: flagBits(undefineFlags, options) };
    await this.#rpc.call('domainUndefineFlags', args, options);
  }

  /** virDomainRename. This handle keeps the old name; its UUID still finds the domain. */
  async rename(name: string, options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainRename', { dom: this.ref, newName: name, flags: 0 }, options);
  }

  async autostart(options: CallOptions = {}): Promise<boolean> {
    return (await this.#rpc.call('domainGetAutostart', { dom: this.ref }, options)).autostart !== 0;
  }

  async setAutostart(enabled: boolean, options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainSetAutostart', { dom: this.ref, autostart: enabled ? 1 : 0 }, options);
  }

  /** virDomainSetLifecycleAction: what happens when the guest powers off, reboots or crashes. */
  async setLifecycleAction(
    event: (typeof lifecycles)[number],
    action: (typeof actions)[number],
    options: AffectOptions & CallOptions = {},
  ): Promise<void> {
    const args = { type: indexOf(lifecycles, event), action: indexOf(actions, action) };
    const flags = flagBits(affectFlags, options);
    await this.#rpc.call('domainSetLifecycleAction', { dom: this.ref, ...args, flags }, options);
  }

  // Its hardware

  /** virDomainAttachDeviceFlags. */
  async attachDevice(xml: string, options: Flags<typeof deviceFlags> & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, xml, flags: flagBits(deviceFlags, options) };
    await this.#rpc.call('domainAttachDeviceFlags', args, options);
  }

  /**
   * virDomainDetachDeviceFlags. Of a running guest it only asks: wait for `device-removed` or
   * `device-removal-failed`.
   */
  async detachDevice(xml: string, options: Flags<typeof deviceFlags> & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, xml, flags: flagBits(deviceFlags, options) };
    await this.#rpc.call('domainDetachDeviceFlags', args, options);
  }

  /** virDomainDetachDeviceAlias: by the alias in the live XML, as `net0`. */
  async detachDeviceAlias(alias: string, options: AffectOptions & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, alias, flags: flagBits(affectFlags, options) };
    await this.#rpc.call('domainDetachDeviceAlias', args, options);
  }

  /** virDomainUpdateDeviceFlags: the medium of a drive, a card's network or link, graphics' passwords… */
  async updateDevice(xml: string, options: Flags<typeof deviceFlags> & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, xml, flags: flagBits(deviceFlags, options) };
    await this.#rpc.call('domainUpdateDeviceFlags', args, options);
  }

  /** virDomainSetVcpusFlags. */
  async setVcpus(count: number, options: Flags<typeof vcpuFlags> & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, nvcpus: count, flags: flagBits(vcpuFlags, options) };
    await this.#rpc.call('domainSetVcpusFlags', args, options);
  }

  /** virDomainGetVcpusFlags. */
  async vcpus(options: Flags<typeof vcpuFlags> & CallOptions = {}): Promise<number> {
    const args = { dom: this.ref, flags: flagBits(vcpuFlags, options) };
    return (await this.#rpc.call('domainGetVcpusFlags', args, options)).num;
  }

  /** virDomainSetVcpu: single processors on or off. `processors` as in `0,2-3`. */
  async setVcpu(processors: string, on: boolean, options: AffectOptions & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, cpumap: processors, state: on ? 1 : 0, flags: flagBits(affectFlags, options) };
    await this.#rpc.call('domainSetVcpu', args, options);
  }

  /** virDomainSetMemoryFlags: the balloon's target, or with `maximum` the most that it can be. In KiB. */
  async setMemory(memoryKiB: number, options: Flags<typeof memoryFlags> & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, memory: BigInt(memoryKiB), flags: flagBits(memoryFlags, options) };
    await this.#rpc.call('domainSetMemoryFlags', args, options);
  }

  /** virDomainSetMemoryStatsPeriod: how often the balloon reports, in seconds. */
  async setMemoryStatsPeriod(periodSeconds: number, options: AffectOptions & CallOptions = {}): Promise<void> {
    const args = { dom: this.ref, period: periodSeconds, flags: flagBits(affectFlags, options) };
    await this.#rpc.call('domainSetMemoryStatsPeriod', args, options);
  }

  /** virDomainSetMetadata; null removes it. */
  async setMetadata(metadata: string | null, options: MetadataOptions): Promise<void> {
    const { key = null, uri = null } = options;
    const args = { type: indexOf(metadataTypes, options.type), metadata, key, uri };
    await this.#rpc.call(
      'domainSetMetadata',
      { dom: this.ref, ...args, flags: flagBits(affectFlags, options) },
      options,
    );
  }

  /** virDomainGetMetadata. Throws `isNotFound` when there is none. */
  async metadata(options: MetadataOptions): Promise<string> {
    const args = { type: indexOf(metadataTypes, options.type), uri: options.uri ?? null };
    const flags = flagBits(affectFlags, options);
    return (await this.#rpc.call('domainGetMetadata', { dom: this.ref, ...args, flags }, options)).metadata;
  }

  // At its keyboard and screen

  /** virDomainInjectNMI. */
  async injectNmi(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainInjectNmi', { dom: this.ref, flags: 0 }, options);
  }

  /** virDomainSendKey: the keys go down together. At most 16; `holdMs` in milliseconds. */
  async sendKey(
    keycodes: readonly number[],
    options: { codeset?: (typeof keycodeSets)[number]; holdMs?: number } & CallOptions = {},
  ): Promise<void> {
    const { codeset = 'linux', holdMs = 0 } = options;
    const args = { codeset: indexOf(keycodeSets, codeset), holdtime: holdMs, keycodes, flags: 0 };
    await this.#rpc.call('domainSendKey', { dom: this.ref, ...args }, options);
  }

  /** virDomainOpenConsole: both ways. `device` is an alias as `serial0`; the first console unless given. */
  async openConsole(
    options: Flags<typeof consoleFlags> & { device?: string } & CallOptions & StreamOptions = {},
  ): Promise<LibvirtStream> {
    const args = { dom: this.ref, devName: options.device ?? null, flags: flagBits(consoleFlags, options) };
    return (await this.#rpc.openStream('domainOpenConsole', args, options)).stream;
  }

  /** virDomainOpenChannel: a channel of type `spicevmc` or `unix` by its target name; `force` takes it over. */
  async openChannel(
    options: { name?: string; force?: boolean } & CallOptions & StreamOptions = {},
  ): Promise<LibvirtStream> {
    const args = { dom: this.ref, name: options.name ?? null, flags: options.force === true ? 1 : 0 };
    return (await this.#rpc.openStream('domainOpenChannel', args, options)).stream;
  }

  /** virDomainScreenshot: the picture comes through the stream. */
  async screenshot(
    options: { screen?: number } & CallOptions & StreamOptions = {},
  ): Promise<{ mime: string | null; stream: LibvirtStream }> {
    const args = { dom: this.ref, screen: options.screen ?? 0, flags: 0 };
    const { result, stream } = await this.#rpc.openStream('domainScreenshot', args, options);
    return { mime: result.mime, stream };
  }

  /** QEMU's monitor, as `virsh qemu-monitor-command`; taints the domain. */
  async monitorCommand(command: object, options: CallOptions = {}): Promise<unknown> {
    const args = { dom: this.ref, cmd: JSON.stringify(command), flags: 0 };
    return JSON.parse((await this.#rpc.call('qemuDomainMonitorCommand', args, options)).result);
  }
}

/** What {@link Domain.info} says. */
export interface DomainInfo {
  readonly state: DomainStateAndReason['state'];
  readonly maxMemoryKiB: number;
  readonly memoryKiB: number;
  readonly vcpus: number;
  readonly cpuTimeNs: number;
}
