import {
  DomainEventID,
  NetworkEventID,
  NodeDeviceEventID,
  SecretEventID,
  StoragePoolEventID,
} from './constants.gen.ts';
import type { Connection } from './connection.ts';
import { ConnectionError, OutcomeUnknownError } from './errors.ts';
import type { EventItem } from './event-router.ts';
import type {
  Events,
  NonnullDomain,
  NonnullNetwork,
  NonnullNodeDevice,
  NonnullSecret,
  NonnullStoragePool,
  Procedures,
} from './protocol.gen.ts';

/** What events can be about. */
interface Subjects {
  readonly domain: NonnullDomain;
  readonly network: NonnullNetwork;
  readonly storagePool: NonnullStoragePool;
  readonly nodeDevice: NonnullNodeDevice;
  readonly secret: NonnullSecret;
}

type Subject = keyof Subjects;

interface Kind {
  readonly subject: Subject;
  /** Its number within its subject; not there for QEMU's own, which are registered in another way. */
  readonly id?: number;
  readonly event: keyof Events;
}

/** Every kind of event that libvirt sends, by the subject's name and its own. */
export const eventKinds = {
  'domain.lifecycle': { subject: 'domain', id: DomainEventID.LIFECYCLE, event: 'domainEventCallbackLifecycle' },
  'domain.reboot': { subject: 'domain', id: DomainEventID.REBOOT, event: 'domainEventCallbackReboot' },
  'domain.rtcChange': { subject: 'domain', id: DomainEventID.RTC_CHANGE, event: 'domainEventCallbackRtcChange' },
  'domain.watchdog': { subject: 'domain', id: DomainEventID.WATCHDOG, event: 'domainEventCallbackWatchdog' },
  'domain.ioError': { subject: 'domain', id: DomainEventID.IO_ERROR, event: 'domainEventCallbackIoError' },
  'domain.graphics': { subject: 'domain', id: DomainEventID.GRAPHICS, event: 'domainEventCallbackGraphics' },
  'domain.ioErrorReason': {
    subject: 'domain',
    id: DomainEventID.IO_ERROR_REASON,
    event: 'domainEventCallbackIoErrorReason',
  },
  'domain.controlError': {
    subject: 'domain',
    id: DomainEventID.CONTROL_ERROR,
    event: 'domainEventCallbackControlError',
  },
  'domain.blockJob': { subject: 'domain', id: DomainEventID.BLOCK_JOB, event: 'domainEventCallbackBlockJob' },
  'domain.diskChange': { subject: 'domain', id: DomainEventID.DISK_CHANGE, event: 'domainEventCallbackDiskChange' },
  'domain.trayChange': { subject: 'domain', id: DomainEventID.TRAY_CHANGE, event: 'domainEventCallbackTrayChange' },
  'domain.pmWakeup': { subject: 'domain', id: DomainEventID.PMWAKEUP, event: 'domainEventCallbackPmwakeup' },
  'domain.pmSuspend': { subject: 'domain', id: DomainEventID.PMSUSPEND, event: 'domainEventCallbackPmsuspend' },
  'domain.balloonChange': {
    subject: 'domain',
    id: DomainEventID.BALLOON_CHANGE,
    event: 'domainEventCallbackBalloonChange',
  },
  'domain.pmSuspendDisk': {
    subject: 'domain',
    id: DomainEventID.PMSUSPEND_DISK,
    event: 'domainEventCallbackPmsuspendDisk',
  },
  'domain.deviceRemoved': {
    subject: 'domain',
    id: DomainEventID.DEVICE_REMOVED,
    event: 'domainEventCallbackDeviceRemoved',
  },
  /** As blockJob, but names the disk by its target (`vda`) and not by its file. */
  'domain.blockJob2': { subject: 'domain', id: DomainEventID.BLOCK_JOB_2, event: 'domainEventBlockJob2' },
  'domain.tunable': { subject: 'domain', id: DomainEventID.TUNABLE, event: 'domainEventCallbackTunable' },
  'domain.agentLifecycle': {
    subject: 'domain',
    id: DomainEventID.AGENT_LIFECYCLE,
    event: 'domainEventCallbackAgentLifecycle',
  },
  'domain.deviceAdded': { subject: 'domain', id: DomainEventID.DEVICE_ADDED, event: 'domainEventCallbackDeviceAdded' },
  'domain.migrationIteration': {
    subject: 'domain',
    id: DomainEventID.MIGRATION_ITERATION,
    event: 'domainEventCallbackMigrationIteration',
  },
  'domain.jobCompleted': {
    subject: 'domain',
    id: DomainEventID.JOB_COMPLETED,
    event: 'domainEventCallbackJobCompleted',
  },
  'domain.deviceRemovalFailed': {
    subject: 'domain',
    id: DomainEventID.DEVICE_REMOVAL_FAILED,
    event: 'domainEventCallbackDeviceRemovalFailed',
  },
  'domain.metadataChange': {
    subject: 'domain',
    id: DomainEventID.METADATA_CHANGE,
    event: 'domainEventCallbackMetadataChange',
  },
  'domain.blockThreshold': { subject: 'domain', id: DomainEventID.BLOCK_THRESHOLD, event: 'domainEventBlockThreshold' },
  'domain.memoryFailure': { subject: 'domain', id: DomainEventID.MEMORY_FAILURE, event: 'domainEventMemoryFailure' },
  'domain.memoryDeviceSizeChange': {
    subject: 'domain',
    id: DomainEventID.MEMORY_DEVICE_SIZE_CHANGE,
    event: 'domainEventMemoryDeviceSizeChange',
  },
  'domain.nicMacChange': { subject: 'domain', id: DomainEventID.NIC_MAC_CHANGE, event: 'domainEventNicMacChange' },
  /** QEMU's own events (QMP), as they come: for people who know what they do. */
  'domain.qemuMonitor': { subject: 'domain', event: 'qemuDomainMonitorEvent' },
  'network.lifecycle': { subject: 'network', id: NetworkEventID.LIFECYCLE, event: 'networkEventLifecycle' },
  'network.metadataChange': {
    subject: 'network',
    id: NetworkEventID.METADATA_CHANGE,
    event: 'networkEventCallbackMetadataChange',
  },
  'storagePool.lifecycle': {
    subject: 'storagePool',
    id: StoragePoolEventID.LIFECYCLE,
    event: 'storagePoolEventLifecycle',
  },
  'storagePool.refresh': { subject: 'storagePool', id: StoragePoolEventID.REFRESH, event: 'storagePoolEventRefresh' },
  'nodeDevice.lifecycle': { subject: 'nodeDevice', id: NodeDeviceEventID.LIFECYCLE, event: 'nodeDeviceEventLifecycle' },
  'nodeDevice.update': { subject: 'nodeDevice', id: NodeDeviceEventID.UPDATE, event: 'nodeDeviceEventUpdate' },
  'secret.lifecycle': { subject: 'secret', id: SecretEventID.LIFECYCLE, event: 'secretEventLifecycle' },
  'secret.valueChanged': { subject: 'secret', id: SecretEventID.VALUE_CHANGED, event: 'secretEventValueChanged' },
} as const satisfies Readonly<Record<string, Kind>>;

/** One of {@link eventKinds}. */
export type EventKind = keyof typeof eventKinds;

type Message<K extends EventKind> = Events[(typeof eventKinds)[K]['event']];
type Inner<M> = M extends { msg: infer I } ? I : unknown;

/** What an event of a kind carries: its message's members, without the number of our registration. */
export type EventOf<K extends EventKind> = Omit<Message<K>, 'callbackID' | 'msg'> & Inner<Message<K>>;

/** What events of a kind are about. */
export type SubjectOf<K extends EventKind> = Subjects[(typeof eventKinds)[K]['subject']];

/** How {@link watchEvents} watches. */
export interface WatchOptions<K extends EventKind> {
  /** Only events of this object; of all otherwise. */
  readonly of?: SubjectOf<K> | undefined;
  /** So many events wait at most; see Subscription. 1024. */
  readonly limit?: number | undefined;
  /** Ends the watch. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks the daemon for events of a kind. What happens after this resolves is reported; the queue is bounded and tells
 * of what it dropped.
 *
 *     const watch = await watchEvents(connection, 'domain.lifecycle');
 *     for await (const item of watch) {
 *       if (item.type === 'overflow') resynchronise();
 *       else console.log(item.event.dom.name, item.event.event);
 *     }
 *
 * @throws What Connection.call throws; LibvirtError where the driver has no such events (isUnsupported).
 */
export async function watchEvents<K extends EventKind>(
  connection: Connection,
  kind: K,
  options: WatchOptions<K> = {},
): Promise<EventWatch<EventOf<K>>> {
  const entry: Kind = eventKinds[kind];
  // Events may come in the same chunk as the registration's reply: queue first, choose afterwards.
  const subscription = connection.subscribe(entry.event, { limit: options.limit, signal: options.signal });
  try {
    const registration = await acquire(connection, kind, options.of, options.signal);
    const { callbackID } = registration;
    subscription.setFilter((message) => !('callbackID' in message) || message.callbackID === callbackID);
    return new EventWatch<EventOf<K>>(subscription, registration.release);
  } catch (error) {
    subscription.close();
    throw error;
  }
}

/** A subscription, whatever its type. */
interface Source {
  next(): Promise<IteratorResult<EventItem<object>, undefined>>;
  close(): void;
}

/** Events of one registration; ends the registration with itself. */
export class EventWatch<T> implements AsyncIterableIterator<EventItem<T>, undefined> {
  readonly #subscription: Source;
  readonly #deregister: () => Promise<void>;
  #closed: Promise<void> | undefined;

  constructor(subscription: Source, deregister: () => Promise<void>) {
    this.#subscription = subscription;
    this.#deregister = deregister;
  }

  async next(): Promise<IteratorResult<EventItem<T>, undefined>> {
    const result = await this.#subscription.next();
    if (result.done === true) {
      await this.close();
      return result;
    }
    const item = result.value;
    if (item.type === 'overflow') return { done: false, value: item };
    return { done: false, value: { type: 'event', event: flatten(item.event) as T } };
  }

  async return(): Promise<IteratorResult<EventItem<T>, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  /** Ends the watch, here and in the daemon. */
  close(): Promise<void> {
    this.#subscription.close();
    this.#closed ??= this.#deregister();
    return this.#closed;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function flatten(message: object): object {
  const { callbackID: _callbackID, msg, ...rest } = message as { callbackID?: number; msg?: object };
  return { ...rest, ...msg };
}

type Registrar = {
  [Name in keyof Procedures]: Procedures[Name] extends { args: { callbackID: number }; ret: undefined } ? Name : never;
}[keyof Procedures];

const deregistrars: Readonly<Record<Subject, Registrar>> = {
  domain: 'connectDomainEventCallbackDeregisterAny',
  network: 'connectNetworkEventDeregisterAny',
  storagePool: 'connectStoragePoolEventDeregisterAny',
  nodeDevice: 'connectNodeDeviceEventDeregisterAny',
  secret: 'connectSecretEventDeregisterAny',
};

/** A registration with the daemon, and how many watches share it. */
interface Shared {
  watches: number;
  readonly callbackID: Promise<number>;
  /** Set once the last watch has let go of it. */
  ended?: Promise<void>;
}

/** The registrations of each connection. */
const registrations = new WeakMap<Connection, Map<string, Shared>>();

/**
 * Takes part in the connection's registration for a kind of event. A daemon accepts one for a kind and object from a
 * client ("event callback already tracked"), so that watches share it; and since it may run two calls in either order,
 * the next is made only when the one before has ended.
 */
async function acquire(
  connection: Connection,
  kind: EventKind,
  of: Subjects[Subject] | undefined,
  signal: AbortSignal | undefined,
): Promise<{ readonly callbackID: number; readonly release: () => Promise<void> }> {
  const entry: Kind = eventKinds[kind];
  const shared = registrations.get(connection) ?? new Map<string, Shared>();
  registrations.set(connection, shared);
  const key = `${kind} ${of === undefined ? '' : subjectKey(of)}`;
  for (let ending = shared.get(key)?.ended; ending !== undefined; ending = shared.get(key)?.ended) await ending;
  signal?.throwIfAborted();
  let registration = shared.get(key);
  if (registration === undefined) {
    registration = { watches: 0, callbackID: register(connection, entry, of) };
    shared.set(key, registration);
  }
  const own = registration;
  own.watches += 1;
  const release = (): Promise<void> => {
    own.watches -= 1;
    if (own.watches > 0) return Promise.resolve();
    own.ended = own.callbackID
      .then(
        (callbackID) => deregister(connection, entry, callbackID),
        () => undefined,
      )
      .finally(() => shared.delete(key));
    return own.ended;
  };
  try {
    const callbackID = await own.callbackID;
    signal?.throwIfAborted();
    return { callbackID, release };
  } catch (error) {
    await release();
    throw error;
  }
}

function subjectKey(of: Subjects[Subject]): string {
  return 'uuid' in of ? Buffer.from(of.uuid).toString('hex') : of.name;
}

async function register(connection: Connection, kind: Kind, of: Subjects[Subject] | undefined): Promise<number> {
  const { id: eventID } = kind;
  const reply = await (() => {
    if (eventID === undefined) {
      const args = { dom: (of ?? null) as NonnullDomain | null, event: null, flags: 0 };
      return connection.call('qemuConnectDomainMonitorEventRegister', args);
    }
    switch (kind.subject) {
      case 'domain': {
        const args = { eventID, dom: (of ?? null) as NonnullDomain | null };
        return connection.call('connectDomainEventCallbackRegisterAny', args);
      }
      case 'network': {
        const args = { eventID, net: (of ?? null) as NonnullNetwork | null };
        return connection.call('connectNetworkEventRegisterAny', args);
      }
      case 'storagePool': {
        const args = { eventID, pool: (of ?? null) as NonnullStoragePool | null };
        return connection.call('connectStoragePoolEventRegisterAny', args);
      }
      case 'nodeDevice': {
        const args = { eventID, dev: (of ?? null) as NonnullNodeDevice | null };
        return connection.call('connectNodeDeviceEventRegisterAny', args);
      }
      case 'secret': {
        const args = { eventID, secret: (of ?? null) as NonnullSecret | null };
        return connection.call('connectSecretEventRegisterAny', args);
      }
    }
  })();
  return reply.callbackID;
}

async function deregister(connection: Connection, kind: Kind, callbackID: number): Promise<void> {
  if (!connection.isOpen) return;
  try {
    const name = kind.id === undefined ? 'qemuConnectDomainMonitorEventDeregister' : deregistrars[kind.subject];
    await connection.call(name, { callbackID });
  } catch (error) {
    // The registration ends with the connection.
    if (error instanceof ConnectionError || error instanceof OutcomeUnknownError) return;
    throw error;
  }
}
