/** The events of libvirt in words; see {@link decodeEvent}. */
import { blockJobTypes } from './objects/domain-blocks.ts';
import { jobStatsOf, type JobStats } from './objects/domain-job.ts';
import { uuidToString } from './objects/uuid.ts';
import { valuesOf, wordAt, type Values } from './objects/values.ts';
import type { NonnullDomain } from './protocol.gen.ts';
import type { EventKind, EventOf } from './watch-events.ts';

/** Whom an event is about. */
export interface Subject {
  readonly name: string;
  readonly uuid: string;
}

/** virDomainEventType and the details of each (libvirt-domain.h), by number. */
const lifecycleDetails = {
  defined: ['added', 'updated', 'renamed', 'from-snapshot'],
  undefined: ['removed', 'renamed'],
  started: ['booted', 'migrated', 'restored', 'from-snapshot', 'wakeup', 'recovered'],
  suspended: [
    ...['paused', 'migrated', 'io-error', 'watchdog', 'restored', 'from-snapshot', 'api-error', 'postcopy'],
    'postcopy-failed',
  ],
  resumed: ['unpaused', 'migrated', 'from-snapshot', 'postcopy', 'postcopy-failed'],
  stopped: ['shutdown', 'destroyed', 'crashed', 'migrated', 'saved', 'failed', 'from-snapshot', 'recreated'],
  shutdown: ['finished', 'guest', 'host'],
  pmsuspended: ['memory', 'disk'],
  crashed: ['panicked', 'crashloaded'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** What happened to a domain. `shutdown` is the guest going down, `stopped` the end. */
export type LifecycleEvent = keyof typeof lifecycleDetails;

const lifecycleEvents = Object.keys(lifecycleDetails) as LifecycleEvent[];
const watchdogActions = ['none', 'pause', 'reset', 'poweroff', 'shutdown', 'debug', 'inject-nmi'] as const;
const ioErrorActions = ['none', 'pause', 'report'] as const;
const graphicsPhases = ['connect', 'initialize', 'disconnect'] as const;
const blockJobStatuses = ['completed', 'failed', 'canceled', 'ready'] as const;
const trayReasons = ['open', 'close'] as const;
const agentStates = ['unknown', 'connected', 'disconnected'] as const;
const agentReasons = ['unknown', 'domain-started', 'channel'] as const;
const diskChangeReasons = ['missing-on-start', 'drop-missing-on-start'] as const;
const metadataTypes = ['description', 'title', 'element'] as const;
const networkEvents = ['defined', 'undefined', 'started', 'stopped'] as const;
const poolEvents = ['defined', 'undefined', 'started', 'stopped', 'created', 'deleted'] as const;
const nodeDeviceEvents = ['created', 'deleted', 'defined', 'undefined'] as const;
const secretEvents = ['defined', 'undefined'] as const;

type Word<Words extends readonly string[]> = Words[number] | 'unknown';

/** What an event of each kind says beside its kind. Sizes in KiB unless the name says otherwise. */
export interface EventFields {
  'domain.lifecycle': { domain: Subject; event: LifecycleEvent | 'unknown'; detail: string };
  'domain.reboot': { domain: Subject };
  'domain.rtcChange': { domain: Subject; offsetSeconds: number };
  'domain.watchdog': { domain: Subject; action: Word<typeof watchdogActions> };
  'domain.ioError': { domain: Subject; path: string; alias: string; action: Word<typeof ioErrorActions> };
  'domain.ioErrorReason': {
    domain: Subject;
    path: string;
    alias: string;
    action: Word<typeof ioErrorActions>;
    /** `enospc`, or empty. */
    reason: string;
  };
  'domain.graphics': { domain: Subject; phase: Word<typeof graphicsPhases>; remoteAddress: string; remotePort: string };
  'domain.controlError': { domain: Subject };
  /** `disk` is the target, as `vda`. */
  'domain.blockJob2': {
    domain: Subject;
    disk: string;
    job: Word<typeof blockJobTypes>;
    status: Word<typeof blockJobStatuses>;
  };
  'domain.diskChange': {
    domain: Subject;
    oldPath: string | undefined;
    newPath: string | undefined;
    alias: string;
    reason: Word<typeof diskChangeReasons>;
  };
  'domain.trayChange': { domain: Subject; alias: string; reason: Word<typeof trayReasons> };
  'domain.pmWakeup': { domain: Subject };
  'domain.pmSuspend': { domain: Subject };
  'domain.pmSuspendDisk': { domain: Subject };
  'domain.balloonChange': { domain: Subject; actualKiB: number };
  'domain.deviceAdded': { domain: Subject; alias: string };
  'domain.deviceRemoved': { domain: Subject; alias: string };
  'domain.deviceRemovalFailed': { domain: Subject; alias: string };
  'domain.tunable': { domain: Subject; values: Values };
  'domain.agentLifecycle': {
    domain: Subject;
    state: Word<typeof agentStates>;
    reason: Word<typeof agentReasons>;
  };
  'domain.migrationIteration': { domain: Subject; iteration: number };
  'domain.jobCompleted': { domain: Subject; job: JobStats };
  'domain.metadataChange': { domain: Subject; type: Word<typeof metadataTypes>; uri: string | undefined };
  'domain.blockThreshold': { domain: Subject; disk: string; thresholdBytes: number; excessBytes: number };
  'domain.memoryDeviceSizeChange': { domain: Subject; alias: string; sizeKiB: number };
  'domain.nicMacChange': { domain: Subject; alias: string; oldMac: string; newMac: string };
  'network.lifecycle': { network: Subject; event: Word<typeof networkEvents> };
  'network.metadataChange': { network: Subject; type: Word<typeof metadataTypes>; uri: string | undefined };
  'storagePool.lifecycle': { pool: Subject; event: Word<typeof poolEvents> };
  /** Volumes may have come or gone. */
  'storagePool.refresh': { pool: Subject };
  'nodeDevice.lifecycle': { device: string; event: Word<typeof nodeDeviceEvents> };
  'nodeDevice.update': { device: string };
  'secret.lifecycle': { uuid: string; event: Word<typeof secretEvents> };
  'secret.valueChanged': { uuid: string };
}

/** The kinds that are decoded; watch-events.ts has them all. */
export type WatchedKind = keyof EventFields & EventKind;

/** An event: its kind and what it says. */
export type DecodedEvent<Kind extends WatchedKind = WatchedKind> = {
  readonly [K in Kind]: { readonly kind: K } & Readonly<EventFields[K]>;
}[Kind];

type Decoders = { readonly [K in WatchedKind]: (event: EventOf<K>) => EventFields[K] };

const subject = (ref: { readonly name: string; readonly uuid: Uint8Array }): Subject => ({
  name: ref.name,
  uuid: uuidToString(ref.uuid),
});
const onlyDomain = ({ dom }: { dom: NonnullDomain }): { domain: Subject } => ({ domain: subject(dom) });
const device = ({ dom, devAlias }: { dom: NonnullDomain; devAlias: string }): { domain: Subject; alias: string } => ({
  domain: subject(dom),
  alias: devAlias,
});

const decoders: Decoders = {
  'domain.lifecycle': ({ dom, event, detail }) => {
    const word = wordAt(lifecycleEvents, event);
    return {
      domain: subject(dom),
      event: word,
      detail: word === 'unknown' ? word : wordAt<string>(lifecycleDetails[word], detail),
    };
  },
  'domain.reboot': onlyDomain,
  'domain.rtcChange': ({ dom, offset }) => ({ domain: subject(dom), offsetSeconds: Number(offset) }),
  'domain.watchdog': ({ dom, action }) => ({ domain: subject(dom), action: wordAt(watchdogActions, action) }),
  'domain.ioError': ({ dom, srcPath, devAlias, action }) => ({
    domain: subject(dom),
    path: srcPath,
    alias: devAlias,
    action: wordAt(ioErrorActions, action),
  }),
  'domain.ioErrorReason': ({ dom, srcPath, devAlias, action, reason }) => ({
    domain: subject(dom),
    path: srcPath,
    alias: devAlias,
    action: wordAt(ioErrorActions, action),
    reason,
  }),
  'domain.graphics': ({ dom, phase, remote }) => ({
    domain: subject(dom),
    phase: wordAt(graphicsPhases, phase),
    remoteAddress: remote.node,
    remotePort: remote.service,
  }),
  'domain.controlError': onlyDomain,
  'domain.blockJob2': ({ dom, dst, type, status }) => ({
    domain: subject(dom),
    disk: dst,
    job: wordAt(blockJobTypes, type),
    status: wordAt(blockJobStatuses, status),
  }),
  'domain.diskChange': ({ dom, oldSrcPath, newSrcPath, devAlias, reason }) => ({
    domain: subject(dom),
    oldPath: oldSrcPath ?? undefined,
    newPath: newSrcPath ?? undefined,
    alias: devAlias,
    reason: wordAt(diskChangeReasons, reason),
  }),
  'domain.trayChange': ({ dom, devAlias, reason }) => ({
    domain: subject(dom),
    alias: devAlias,
    reason: wordAt(trayReasons, reason),
  }),
  'domain.pmWakeup': onlyDomain,
  'domain.pmSuspend': onlyDomain,
  'domain.pmSuspendDisk': onlyDomain,
  'domain.balloonChange': ({ dom, actual }) => ({ domain: subject(dom), actualKiB: Number(actual) }),
  'domain.deviceAdded': device,
  'domain.deviceRemoved': device,
  'domain.deviceRemovalFailed': device,
  'domain.tunable': ({ dom, params }) => ({ domain: subject(dom), values: valuesOf(params) }),
  'domain.agentLifecycle': ({ dom, state, reason }) => ({
    domain: subject(dom),
    state: wordAt(agentStates, state),
    reason: wordAt(agentReasons, reason),
  }),
  'domain.migrationIteration': ({ dom, iteration }) => ({ domain: subject(dom), iteration }),
  // The event comes when the job ended well; libvirt says of others only that they are gone.
  'domain.jobCompleted': ({ dom, params }) => ({ domain: subject(dom), job: jobStatsOf(3, params) }),
  'domain.metadataChange': ({ dom, type, nsuri }) => ({
    domain: subject(dom),
    type: wordAt(metadataTypes, type),
    uri: nsuri ?? undefined,
  }),
  'domain.blockThreshold': ({ dom, dev, threshold, excess }) => ({
    domain: subject(dom),
    disk: dev,
    thresholdBytes: Number(threshold),
    excessBytes: Number(excess),
  }),
  'domain.memoryDeviceSizeChange': ({ dom, alias, size }) => ({
    domain: subject(dom),
    alias,
    sizeKiB: Number(size),
  }),
  'domain.nicMacChange': ({ dom, alias, oldMAC, newMAC }) => ({
    domain: subject(dom),
    alias,
    oldMac: oldMAC,
    newMac: newMAC,
  }),
  'network.lifecycle': ({ net, event }) => ({ network: subject(net), event: wordAt(networkEvents, event) }),
  'network.metadataChange': ({ net, type, nsuri }) => ({
    network: subject(net),
    type: wordAt(metadataTypes, type),
    uri: nsuri ?? undefined,
  }),
  'storagePool.lifecycle': ({ pool, event }) => ({ pool: subject(pool), event: wordAt(poolEvents, event) }),
  'storagePool.refresh': ({ pool }) => ({ pool: subject(pool) }),
  'nodeDevice.lifecycle': ({ dev, event }) => ({ device: dev.name, event: wordAt(nodeDeviceEvents, event) }),
  'nodeDevice.update': ({ dev }) => ({ device: dev.name }),
  'secret.lifecycle': ({ secret, event }) => ({ uuid: uuidToString(secret.uuid), event: wordAt(secretEvents, event) }),
  'secret.valueChanged': ({ secret }) => ({ uuid: uuidToString(secret.uuid) }),
};

/** All kinds that {@link decodeEvent} knows. */
export const watchedKinds = Object.keys(decoders) as WatchedKind[];

/** Puts an event into words. Numbers that this client does not know become `unknown`. */
export function decodeEvent<Kind extends WatchedKind>(kind: Kind, event: EventOf<Kind>): DecodedEvent<Kind> {
  return { kind, ...decoders[kind](event) };
}
