/**
 * What libvirt has of one machine: its definition, the running domain, its state, and our marks in both. Read afresh for
 * each reconcile; nothing is kept.
 */
import { readBootMark, readMachineMark, bootNamespace, machineNamespace } from './domain-metadata.ts';
import type { BootMark, MachineMark } from './domain-metadata.ts';
import { isList, isObject, type Data, type DataObject } from './same-value.ts';
import { asDefinition } from './lost-definition.ts';
import { asPlugged } from './plugged-interfaces.ts';
import type { PowerState } from './power-policy.ts';
import { analyse, type OverlayEntry } from '../../analyser/analyse.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';
import type { DomainStateAndReason } from '../../libvirt/objects/domain-state.ts';
import { parseElement } from '../../xml/element.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** A domain as it was a moment ago. */
export interface DomainView {
  readonly domain: Domain;
  readonly libvirtState: DomainStateAndReason;
  readonly state: PowerState;
  /** Whether libvirt keeps its definition; without one it is gone when it ends. */
  readonly isPersistent: boolean;
  /** Its id while it runs. */
  readonly id: number | undefined;
  /** The definition for the next start, passwords included. */
  readonly inactive: DataObject;
  /** What the tables do not know of the definition. */
  readonly inactiveOverlay: readonly OverlayEntry[];
  /** The running domain. */
  readonly live: DataObject | undefined;
  /** Our mark in the definition. */
  readonly mark: MachineMark | undefined;
  /** Our mark as it was when the domain was started. */
  readonly liveMark: MachineMark | undefined;
  readonly boot: BootMark | undefined;
  readonly hasManagedSave: boolean;
  /** The host's processors; only where the running domain is pinned to some of them. */
  readonly hostProcessors?: ReadonlySet<number> | undefined;
}

const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Options of the calls to libvirt. */
export interface LibvirtCallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/**
 * Finds a machine's domain by its UUID, whatever it is called: somebody may have renamed it, and have given its name to
 * another. Where none has the UUID, the domain of the name: there may be one that is in the way (foreign-domain.ts).
 *
 * @param uuid What is no UUID (of a machine that is not stored) is not looked for.
 * @returns undefined when there is none.
 */
export async function findDomain(
  libvirt: Libvirt,
  name: string,
  uuid: string,
  options: LibvirtCallOptions,
): Promise<Domain | undefined> {
  try {
    if (isUuid.test(uuid)) return await libvirt.domains.byUuid(uuid, options);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  try {
    return await libvirt.domains.byName(name, options);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/**
 * Reads everything of a domain; undefined when it was undefined meanwhile. The answers are of one moment: a domain
 * that ended between them is read again, at most `rereads` times.
 */
export async function readDomain(
  domain: Domain,
  options: LibvirtCallOptions,
  rereads = 3,
): Promise<DomainView | undefined> {
  try {
    const [libvirtState, isPersistent, inactiveXml, hasManagedSave] = await Promise.all([
      domain.state(options),
      domain.isPersistent(options),
      domain.xml({ inactive: true, secure: true, ...options }),
      readManagedSave(domain, options),
    ]);
    const inactive = analyse(inactiveXml, { maxBytes: maxReportedBytes });
    const state = powerState(libvirtState);
    // A domain that is off gives the definition once more.
    const live =
      state === 'off'
        ? undefined
        : (analyse(await domain.xml({ secure: true, ...options }), { maxBytes: maxReportedBytes }).value as DataObject);
    const isRunning = live !== undefined && live['id'] !== undefined;
    // It ended between the two questions: the state that was read does not say how.
    if (live !== undefined && !isRunning && libvirtState.state !== 'crashed' && rereads > 0) {
      return await readDomain(domain, options, rereads - 1);
    }
    const given = inactive.value as DataObject;
    // The mark of a boot is only ever written into a running domain.
    const value = isPersistent || bootMarkOf(given) === undefined ? given : asDefinition(given);
    const running = isRunning ? asPlugged(live) : undefined;
    return {
      domain,
      libvirtState,
      state: isRunning || state === 'crashed' || state === 'off' ? state : 'stopping',
      isPersistent,
      id: isRunning ? Number(live['id']) : undefined,
      inactive: value,
      inactiveOverlay: inactive.overlay,
      live: running,
      mark: machineMarkOf(value),
      liveMark: running === undefined ? undefined : machineMarkOf(running),
      boot: running === undefined ? undefined : bootMarkOf(running),
      hasManagedSave,
      hostProcessors: isPinned(running) ? new Set(await domain.tuning.hostProcessors(options)) : undefined,
    };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** libvirt's state, as far as power is concerned. */
export function powerState({ state, reason }: DomainStateAndReason): PowerState {
  switch (state) {
    case 'running':
    case 'blocked':
    case 'nostate':
      return 'running';
    case 'paused':
      // QEMU has a guest's panic as a pause when the domain is preserved.
      return reason === 'crashed' ? 'crashed' : 'paused';
    case 'shutdown':
      return 'stopping';
    case 'shutoff':
      return 'off';
    case 'crashed':
      return 'crashed';
    case 'pmsuspended':
      return 'suspended';
  }
}

async function readManagedSave(domain: Domain, options: LibvirtCallOptions): Promise<boolean> {
  return domain.hasManagedSave(options);
}

function isPinned(live: DataObject | undefined): boolean {
  const cputune = live?.['cputune'];
  return isObject(cputune) && ['vcpupin', 'emulatorpin', 'iothreadpin'].some((pin) => cputune[pin] !== undefined);
}

/** Our mark in the definition or the running domain whose value this is. */
export function machineMarkOf(value: DataObject): MachineMark | undefined {
  const element = elementOf(value['metadata'], machineNamespace, 'machine');
  return element === undefined ? undefined : readMachineMark(element.attributes, element.text);
}

function bootMarkOf(value: DataObject): BootMark | undefined {
  const element = elementOf(value['metadata'], bootNamespace, 'boot');
  return element === undefined ? undefined : readBootMark(element.attributes, element.text);
}

function elementOf(
  metadata: Data | undefined,
  namespace: string,
  name: string,
): { attributes: Readonly<Record<string, string>>; text: string } | undefined {
  for (const xml of isList(metadata) ? metadata : []) {
    if (typeof xml !== 'string' || !xml.includes(namespace)) continue;
    const element = parseElement(xml, { maxBytes: maxReportedBytes });
    if (element.name === `{${namespace}}${name}`) {
      return { attributes: Object.fromEntries(element.attributes), text: element.text };
    }
  }
  return undefined;
}

/** The `<metadata>` of a definition without our own elements: other people's, which stays. */
export function foreignMetadata(value: DataObject | undefined): string[] {
  const metadata = value?.['metadata'];
  return (isList(metadata) ? metadata : []).filter(
    (xml): xml is string => typeof xml === 'string' && !xml.includes(machineNamespace) && !xml.includes(bootNamespace),
  );
}

/** The device of a kind in a domain, as its value. */
export function devicesOf(value: DataObject | undefined, kind: string): readonly DataObject[] {
  const devices = value?.['devices'];
  const list = isObject(devices) ? devices[kind] : undefined;
  if (isList(list)) return list.filter(isObject);
  return isObject(list) ? [list] : [];
}
