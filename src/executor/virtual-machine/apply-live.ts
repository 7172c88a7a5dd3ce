/**
 * Carries the steps of a live plan out on a running domain, and looks at the live XML afterwards: what was asked for and is
 * not there waits for the next start, with libvirt's words.
 */
import { compareRemoved, compareWanted, type Difference } from './compare.ts';
import { isKnown, rememberApplied, toFieldChange, toKnown } from './definition.ts';
import { readDomain, type DomainView, type LibvirtCallOptions } from './domain-view.ts';
import { planLive, type LiveAction, type LiveStep } from './live-plan.ts';
import { cpuSet, memberAt, textOf, type DataObject } from './same-value.ts';
import type { FieldChange } from '../../api/virtual-machine.ts';
import { toError } from '../../base/errors.ts';
import { render } from '../../convertor/render.ts';
import { OutcomeUnknownError } from '../../libvirt/errors.ts';

/** What came of live changes. */
export interface LiveResult {
  readonly view: DomainView;
  /** What was changed and is so now. */
  readonly done: readonly FieldChange[];
  /** What waits for the next start, each with libvirt's words where it refused. */
  readonly restartRequired: readonly FieldChange[];
  /** A guest was asked to give a device back, and has not yet; look again soon. */
  readonly isPending: boolean;
}

/** How long a guest may take to give a device back before that is told as waiting for a restart, in milliseconds. */
const detachPatienceMs = 20_000;

/**
 * A guest is not asked again sooner, in milliseconds: PCIe's attention button, pressed again within five seconds, takes the
 * request back.
 */
const askAgainMs = 12_000;

/** When a guest was asked for a device, by domain and path. Lost with the process: then it is asked once more. */
export class PendingDetaches {
  readonly #asked = new Map<string, { readonly since: number; last: number }>();

  /** Whether it is time to ask; it counts as asked then. */
  isTurn(key: string, now: number): boolean {
    const known = this.#asked.get(key);
    if (known !== undefined && now - known.last < askAgainMs) return false;
    if (known !== undefined) known.last = now;
    else {
      if (this.#asked.size > 10_000) this.#asked.clear();
      this.#asked.set(key, { since: now, last: now });
    }
    return true;
  }

  /** Since when it is being asked. */
  since(key: string, now: number): number {
    return this.#asked.get(key)?.since ?? now;
  }

  /** Forgets those of a domain whose paths are no longer wanted away. */
  keepOnly(domain: string, paths: ReadonlySet<string>): void {
    for (const key of this.#asked.keys()) {
      if (key.startsWith(`${domain} `) && !paths.has(key.slice(domain.length + 1))) this.#asked.delete(key);
    }
  }
}

/** What differs between a running domain and what is asked for, without what libvirt itself did at its start. */
export function liveDifferences(wanted: DataObject, view: DomainView): Difference[] {
  const { live, liveMark, boot, inactive, mark } = view;
  if (live === undefined) return [];
  // What this boot was given so far: rememberApplied keeps it in the running domain's own mark.
  const applied = liveMark?.applied ?? mark?.applied ?? {};
  const found = [...compareWanted(wanted, live), ...compareRemoved(applied, wanted, live, inactive)];
  // What the definition does not have either is not for a restart to bring.
  const ignored = mark?.ignored ?? [];
  return found.filter(
    (difference) =>
      !isKnown(difference, boot?.baseline ?? []) &&
      !ignored.some(({ path, to }) => path === difference.path && to === toKnown(difference).to),
  );
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
  detaches: PendingDetaches,
  now: number,
  options: LibvirtCallOptions,
): Promise<LiveResult> {
  const differences = liveDifferences(wanted, unmarked);
  const { steps, restartRequired: unplugged } = planLive(differences, wanted, unmarked.inactive, unmarked.live ?? {});
  const before = await rememberApplied(wanted, unplugged, unmarked, options);
  if (steps.length === 0) {
    return { view: before, done: [], restartRequired: differences.map(toChange), isPending: false };
  }
  const refused = new Map<string, string>();
  const waiting = new Set<string>();
  for (const step of steps) {
    try {
      await carryOut(step, before, detaches, now, options);
      if (step.action.type === 'detach') for (const { path } of step.differences) waiting.add(path);
    } catch (error) {
      if (error instanceof OutcomeUnknownError) throw error;
      options.signal?.throwIfAborted();
      for (const { path } of step.differences) refused.set(path, toError(error).message);
    }
  }
  const view = (await readDomain(before.domain, options)) ?? before;
  const left = liveDifferences(wanted, view);
  const leftPaths = new Set(left.map(({ path }) => path));
  detaches.keepOnly(before.domain.uuid, leftPaths);
  let isPending = false;
  const restartRequired = left.flatMap((difference): FieldChange[] => {
    const { path } = difference;
    const change = toChange(difference);
    const said = refused.get(path);
    if (said !== undefined) return [{ ...change, message: said }];
    if (waiting.has(path)) {
      isPending = true;
      const since = detaches.since(`${before.domain.uuid} ${path}`, now);
      return now - since < detachPatienceMs
        ? []
        : [{ ...change, message: 'the guest has not given the device back yet' }];
    }
    const tried = steps.some((step) => step.differences.some((one) => one.path === path));
    return [tried ? { ...change, message: 'changed, but not so in the running domain' } : change];
  });
  const done = steps.flatMap((step) =>
    step.differences.filter(({ path }) => !leftPaths.has(path)).map((difference) => toChange(difference)),
  );
  return { view, done, restartRequired, isPending };
}

function toChange(difference: Difference): FieldChange {
  return toFieldChange(toKnown(difference));
}

async function carryOut(
  { action, differences }: LiveStep,
  view: DomainView,
  detaches: PendingDetaches,
  now: number,
  options: LibvirtCallOptions,
): Promise<void> {
  if (action.type === 'detach') {
    if (!detaches.isTurn(`${view.domain.uuid} ${differences[0]?.path ?? ''}`, now)) return;
  }
  await perform(action, view, options);
}

async function perform(action: LiveAction, { domain, live }: DomainView, options: LibvirtCallOptions): Promise<void> {
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
      return domain.tuning.pinVcpu(action.vcpu, processors(action.cpuset, live), onLive);
    case 'pinEmulator':
      return domain.tuning.pinEmulator(processors(action.cpuset, live), onLive);
    case 'pinIoThread':
      return domain.tuning.pinIoThread(action.iothread, processors(action.cpuset, live), onLive);
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

/** The host's processors of a CPU set; without one, those of the domain, else all that there can be. */
function processors(text: string | undefined, live: DataObject | undefined): number[] {
  const set = cpuSet(text ?? textOf(memberAt(live, 'vcpu', 'cpuset')));
  return [...(set ?? Array.from({ length: 64 }, (_entry, index) => index))].sort((a, b) => a - b);
}
