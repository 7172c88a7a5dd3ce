/**
 * Carries the steps of a live plan out on a running domain, and looks at the live XML afterwards: what was asked for and is
 * not there waits for the next start, with libvirt's words.
 */
import { compareRemoved, compareWanted, isUnlimited, type Difference } from './compare.ts';
import { isKnown, rememberApplied, toFieldChange, toKnown } from './definition.ts';
import type { GuestRequests } from './guest-requests.ts';
import { readDomain, type DomainView, type LibvirtCallOptions } from './domain-view.ts';
import { ioThreadActions, planLive, spreadBags, type LiveAction, type LiveStep } from './live-plan.ts';
import { withoutResetPins } from './reset-pins.ts';
import { cpuSet, integerOf, memberAt, textOf, type DataObject } from './same-value.ts';
import type { FieldChange } from '../../api/virtual-machine.ts';
import { toError } from '../../base/errors.ts';
import { render } from '../../convertor/render.ts';
import { isLibvirtTimeout, OutcomeUnknownError } from '../../libvirt/errors.ts';

/** What came of live changes. */
export interface LiveResult {
  readonly view: DomainView;
  /** What was changed and is so now. */
  readonly done: readonly FieldChange[];
  /** What waits for the next start, each with libvirt's words where it refused. */
  readonly restartRequired: readonly FieldChange[];
  /** What the guest was asked for and has not done yet, each with how far it is; look again soon. */
  readonly pending: readonly FieldChange[];
  /** The paths of those that wait for a restart because this machine cannot do otherwise; nobody refused them. */
  readonly limits: ReadonlySet<string>;
}

/** What differs between a running domain and what is asked for, without what libvirt itself did at its start. */
export function liveDifferences(wanted: DataObject, view: DomainView): Difference[] {
  const { liveMark, boot, inactive, mark } = view;
  if (view.live === undefined) return [];
  const live = withoutResetPins(view.live, wanted, view.hostProcessors);
  // What this boot was given so far: rememberApplied keeps it in the running domain's own mark.
  const applied = liveMark?.applied ?? mark?.applied ?? {};
  const found = [...compareWanted(wanted, live), ...compareRemoved(applied, wanted, live, inactive)];
  // What the definition does not have either is not for a restart to bring.
  const ignored = mark?.ignored ?? [];
  // Numbers of I/O threads that nobody asks for any more are libvirt's, as long as there are enough of them.
  const hasThreads = ioThreadActions(wanted, live).length === 0;
  const isNews = (difference: Difference): boolean =>
    !(hasThreads && difference.to === undefined && difference.keys.startsWith('iothreadids')) &&
    // Which processors run is libvirt's to choose again; how many do is another field.
    !(difference.to === undefined && /^vcpus(\.|$)/.test(difference.keys)) &&
    !isKnown(difference, boot?.baseline ?? []) &&
    !ignored.some(({ path, to }) => path === difference.path && to === toKnown(difference).to);
  // Each setting of a bag for itself: one of them may be refused, and another already mean "none".
  return found.filter(isNews).flatMap((difference) => {
    const spread = spreadBags(difference);
    if (spread.length === 1 && spread[0] === difference) return [difference];
    return spread.filter(({ keys, to, from }) => to !== undefined || from === undefined || !isUnlimited(keys, from));
  });
}

/**
 * Makes the changes that libvirt can make at once.
 *
 * @param now Milliseconds since 1970.
 * @throws OutcomeUnknownError when a call did not answer: look again.
 */
export async function applyLive(
  wanted: DataObject,
  unmarked: DomainView,
  requests: GuestRequests,
  now: number,
  options: LibvirtCallOptions,
): Promise<LiveResult> {
  const differences = liveDifferences(wanted, unmarked);
  const {
    steps,
    restartRequired: unplugged,
    reasons,
  } = planLive(
    differences,
    wanted,
    unmarked.inactive,
    withoutResetPins(unmarked.live ?? {}, wanted, unmarked.hostProcessors),
  );
  const before = await rememberApplied(wanted, unplugged, unmarked, options);
  if (steps.length === 0) {
    const restartRequired = differences.map((difference) => withReason(difference, reasons));
    return { view: before, done: [], restartRequired, pending: [], limits: new Set(reasons.keys()) };
  }
  const refused = new Map<string, string>(reasons);
  const waiting = new Map<string, LiveAction>();
  for (const step of steps) {
    try {
      await carryOut(step, before, requests, now, options);
      if (asksGuest(step.action, before)) for (const { path } of step.differences) waiting.set(path, step.action);
    } catch (error) {
      if (error instanceof OutcomeUnknownError) throw error;
      options.signal?.throwIfAborted();
      for (const { path } of step.differences) refused.set(path, toError(error).message);
    }
  }
  const view = (await readDomain(before.domain, options)) ?? before;
  const left = liveDifferences(wanted, view);
  const leftPaths = new Set(left.map(({ path }) => path));
  requests.keepOnly(before.domain.uuid, leftPaths);
  const pending: FieldChange[] = [];
  const restartRequired = left.flatMap((difference): FieldChange[] => {
    const { path } = difference;
    const change = toChange(difference);
    const said = refused.get(path);
    if (said !== undefined) return [{ ...change, message: said }];
    const asked = waiting.get(path);
    if (asked !== undefined) {
      const request = `${before.domain.uuid} ${path}`;
      const { isPatient, message } =
        path === 'currentMemory'
          ? requests.balloon(request, difference, now)
          : { isPatient: requests.isPatient(request, now), message: notGivenBack(asked) };
      if (isPatient) pending.push({ ...change, message });
      return isPatient ? [] : [{ ...change, message }];
    }
    const tried = steps.some((step) => step.differences.some((one) => one.path === path));
    return [tried ? { ...change, message: 'changed, but not so in the running domain' } : change];
  });
  const done = steps.flatMap((step) =>
    step.differences.filter(({ path }) => !leftPaths.has(path)).map((difference) => toChange(difference)),
  );
  return { view, done, restartRequired, pending, limits: new Set(reasons.keys()) };
}

function withReason(difference: Difference, reasons: ReadonlyMap<string, string>): FieldChange {
  const message = reasons.get(difference.path);
  return message === undefined ? toChange(difference) : { ...toChange(difference), message };
}

function toChange(difference: Difference): FieldChange {
  return toFieldChange(toKnown(difference));
}

/** Whether a step only asks the guest, which takes the time it takes. */
function asksGuest(action: LiveAction, { live }: DomainView): boolean {
  if (action.type === 'vcpus') return action.count < processorsOf(live);
  if (action.type === 'vcpu') return !action.enabled;
  return action.type === 'detach' || action.type === 'balloon';
}

function processorsOf(live: DataObject | undefined): number {
  return Number(integerOf(memberAt(live, 'vcpu', 'current') ?? memberAt(live, 'vcpu', 'value')) ?? 0n);
}

function notGivenBack({ type }: LiveAction): string {
  const what = type === 'vcpus' || type === 'vcpu' ? 'processor' : 'device';
  return `the guest has not given the ${what} back yet`;
}

async function carryOut(
  { action, differences }: LiveStep,
  view: DomainView,
  requests: GuestRequests,
  now: number,
  options: LibvirtCallOptions,
): Promise<void> {
  if (!asksGuest(action, view) || action.type === 'balloon') {
    await perform(action, view, options);
    return;
  }
  const request = `${view.domain.uuid} ${differences[0]?.path ?? ''}`;
  if (!requests.isTurn(request, now)) return;
  try {
    await perform(action, view, options);
  } catch (error) {
    // libvirt waits for a processor for five seconds; the guest goes on giving it back.
    if (action.type !== 'detach' && isLibvirtTimeout(error)) return;
    // Refused, so not asked.
    requests.forget(request);
    throw error;
  }
}

async function perform(action: LiveAction, view: DomainView, options: LibvirtCallOptions): Promise<void> {
  const { domain } = view;
  const onLive = { live: true, ...options };
  switch (action.type) {
    case 'attach':
      return domain.attachDevice(deviceXml(action.kind, action.device), onLive);
    case 'detach':
      return domain.detachDevice(deviceXml(action.kind, action.device), onLive);
    case 'update':
      return domain.updateDevice(deviceXml(action.kind, action.device), onLive);
    case 'vcpus':
      return domain.setVcpus(action.count, onLive);
    case 'vcpu':
      return domain.setVcpu(String(action.id), action.enabled, onLive);
    case 'balloon':
      return domain.setMemory(Number(action.kib), onLive);
    case 'balloonStats':
      return domain.setMemoryStatsPeriod(action.periodSeconds, onLive);
    case 'tune':
      switch (action.group) {
        case 'scheduler':
          return domain.tuning.setScheduler(action.values, onLive);
        case 'blkio':
          return domain.tuning.setBlkio(action.values, onLive);
        case 'memory':
          return domain.tuning.setMemory(action.values, onLive);
        case 'numa':
          return domain.tuning.setNuma(action.values, onLive);
      }
    // eslint-disable-next-line no-fallthrough -- every group returns
    case 'blockIoTune':
      return domain.blocks.setIoTune(action.target, action.values, onLive);
    case 'pinVcpu':
      return domain.tuning.pinVcpu(action.vcpu, processors(action.cpuset, view), onLive);
    case 'pinEmulator':
      return domain.tuning.pinEmulator(processors(action.cpuset, view), onLive);
    case 'pinIoThread':
      return domain.tuning.pinIoThread(action.iothread, processors(action.cpuset, view), onLive);
    case 'addIoThread':
      return domain.tuning.addIoThread(action.iothread, onLive);
    case 'removeIoThread':
      return domain.tuning.deleteIoThread(action.iothread, onLive);
    case 'text':
      return domain.setMetadata(action.text ?? null, { type: action.element, ...onLive });
    case 'lifecycle': {
      const event = action.event.slice('on_'.length) as 'poweroff' | 'reboot' | 'crash';
      return domain.setLifecycleAction(event, lifecycleAction(action.action), onLive);
    }
  }
}

/** The element of one device. */
export function deviceXml(kind: string, device: DataObject): string {
  const list = ['memballoon', 'iommu', 'vsock', 'nvram', 'pstore'].includes(kind) ? device : [device];
  const xml = render('domain', { devices: { [kind]: list } }, [], { pretty: false });
  const [open, close] = ['<domain><devices>', '</devices></domain>'];
  return xml.slice(xml.indexOf(open) + open.length, xml.lastIndexOf(close));
}

function lifecycleAction(
  word: string,
): 'destroy' | 'restart' | 'restart-rename' | 'preserve' | 'coredump-destroy' | 'coredump-restart' {
  switch (word) {
    case 'restart':
    case 'preserve':
    case 'coredump-destroy':
    case 'coredump-restart':
      return word;
    case 'rename-restart':
      return 'restart-rename';
    default:
      return 'destroy';
  }
}

/** The host's processors of a CPU set; without one, those of the domain, else all of them. */
function processors(text: string | undefined, { live, hostProcessors = new Set() }: DomainView): number[] {
  const set = cpuSet(text ?? textOf(memberAt(live, 'vcpu', 'cpuset')));
  return [...(set ?? hostProcessors)].sort((a, b) => a - b);
}
