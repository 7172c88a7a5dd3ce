/**
 * The entry of src/executor/plan: what the executor would do with a machine's domain, without doing it. It decides with
 * the executor's own functions, so that plan and executor cannot disagree:
 *
 *   machine as it would be ─▶ resolve (files only named) ─▶ compareDefinition ─▶ definitionXml ─▶ scratch define
 *                                                                                                    │
 *      what libvirt refuses ◀── its error ───────────────────────────────────────────────────────────┤
 *      what libvirt ignores ◀── notKept ─────────────────────────────────────────────────────────────┤
 *      live, next restart   ◀── planLive ◀── liveDifferences with that definition ◀──────────────────┘
 *
 * Called by `virtctl plan` and `virtctl diff` on the machine's node.
 */
import { scratchDefine } from './scratch-define.ts';
import { liveDifferences } from '../virtual-machine/apply-live.ts';
import type { Difference } from '../virtual-machine/compare.ts';
import { compareDefinition, notKept, toFieldChange, toKnown } from '../virtual-machine/definition.ts';
import { desiredDomain, type NodeTraits } from '../virtual-machine/desired-domain.ts';
import { withoutSecrets, type KnownDifference } from '../virtual-machine/domain-metadata.ts';
import { findDomain, readDomain, type DomainView, type LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { foreignMessage, isForeign } from '../virtual-machine/foreign-domain.ts';
import { resolveInterfaces } from '../virtual-machine/interfaces.ts';
import { planLive, spreadBags } from '../virtual-machine/live-plan.ts';
import { NotReadyError } from '../virtual-machine/not-ready-error.ts';
import type { DataObject } from '../virtual-machine/same-value.ts';
import { resolveVolumes, type VolumeSources } from '../virtual-machine/volumes.ts';
import { machineUuid } from '../../api/machine-uuid.ts';
import { domainName, type FieldChange, type VirtualMachine } from '../../api/virtual-machine.ts';
import type { VirtualNetwork } from '../../api/virtual-network.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';

/**
 * What becomes of a changed field: `live` now, in the running machine; `restart` at its next restart; `start` at its next
 * start, for it is off; `definition` in its definition only, for the running machine has it so; `ignored` libvirt does not
 * keep it; `refused` libvirt takes the definition with it not at all.
 */
export type PlannedEffect = 'live' | 'restart' | 'start' | 'definition' | 'ignored' | 'refused';

/** A changed field of the domain. */
export interface PlannedField extends FieldChange {
  readonly effect: PlannedEffect;
}

/** What would be done with a machine's domain. */
export interface MachinePlan {
  /** Whether there is none yet. */
  readonly isNew: boolean;
  readonly isRunning: boolean;
  readonly fields: readonly PlannedField[];
  /** libvirt's words when it refuses the definition. */
  readonly refusal?: string;
  /** Why nothing can be done yet: a volume is not there, KVM cannot be used. */
  readonly notReady?: string;
}

/** What {@link planMachine} works with. */
export interface PlanSources extends VolumeSources {
  readonly networks: ResourceClient<VirtualNetwork>;
  readonly libvirt: Libvirt;
  readonly traits: NodeTraits & { readonly kvmUsable: boolean; readonly kvmMessage: string };
  readonly newId: () => string;
}

/**
 * Finds out what would become of a machine's domain. The domain and its guest are only read; libvirt's answer comes from a
 * definition under another name that is taken away at once (scratch-define.ts).
 *
 * @param machine As it would be: what a dry run on the server gave.
 */
export async function planMachine(
  machine: VirtualMachine,
  sources: PlanSources,
  signal: AbortSignal,
): Promise<MachinePlan> {
  const options: LibvirtCallOptions = { signal, timeoutMs: 30_000 };
  const { libvirt } = sources;
  const domain = await findDomain(libvirt, domainName(machine), machineUuid(machine), options);
  const view = domain === undefined ? undefined : await readDomain(domain, options);
  if (view !== undefined && isForeign(machine, view)) {
    const notReady = foreignMessage(machine, view, sources.nodeName);
    return { isNew: true, isRunning: false, fields: [], notReady };
  }
  const isNew = view === undefined;
  const isRunning = view?.live !== undefined;
  const wanted = await resolve(machine, sources, signal);
  if (typeof wanted === 'string') return { isNew, isRunning, fields: [], notReady: wanted };
  const drift = view === undefined ? undefined : compareDefinition(machine, wanted, view);
  const differences = drift?.differences ?? [];
  const change = (difference: Difference): FieldChange => toFieldChange(toKnown(difference));
  if (view !== undefined && drift?.needed !== 'define') {
    // Somebody else started it, and no executor has looked yet: it will take it as it is.
    if (view.boot === undefined) return { isNew, isRunning, fields: [] };
    return { isNew, isRunning, fields: liveFields(wanted, view) };
  }
  let after: Awaited<ReturnType<typeof scratchDefine>>;
  try {
    after = await scratchDefine(libvirt, machine, wanted, view, sources.newId, options);
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    const fields = differences.map((one): PlannedField => ({ ...change(one), effect: 'refused' }));
    return { isNew, isRunning, fields, refusal: error.message };
  }
  const ignored = notKept(machine, wanted, after);
  const ignoredFields = ignored.map((one): PlannedField => ({ ...toFieldChange(one), effect: 'ignored' }));
  if (view === undefined) return { isNew, isRunning, fields: ignoredFields };
  const defined = afterDefine(view, wanted, after, ignored);
  const live = liveFields(wanted, defined);
  const told = new Set([...live, ...ignoredFields].map(({ path }) => path));
  // A whole bag of settings is told by what is in it, as the running domain's are.
  const rest = differences
    .flatMap(spreadBags)
    .filter(({ path }) => !told.has(path))
    .map((one): PlannedField => ({ ...change(one), effect: isRunning ? 'definition' : 'start' }));
  return { isNew, isRunning, fields: [...live, ...rest, ...newlyIgnored(ignoredFields, view, ignored)] };
}

/** The view as it would be after the define. */
function afterDefine(
  view: DomainView,
  wanted: DataObject,
  after: { readonly inactive: DataObject },
  ignored: readonly KnownDifference[],
): DomainView {
  const mark = view.mark ?? {
    namespace: '',
    name: '',
    uid: '',
    generation: 0,
    spec: {},
    metadata: {},
    applied: {},
    ignored: [],
  };
  // What was applied before stays known: a field that spec no longer sets is to go from the running domain, too.
  const liveMark = view.liveMark ?? view.mark;
  return {
    ...view,
    inactive: after.inactive,
    mark: { ...mark, applied: withoutSecrets(wanted), ignored },
    liveMark,
  };
}

/** What differs in the running domain, and what becomes of it. */
function liveFields(wanted: DataObject, view: DomainView): PlannedField[] {
  if (view.live === undefined) return [];
  const differences = liveDifferences(wanted, view);
  const { steps, restartRequired, reasons } = planLive(differences, wanted, view.inactive, view.live);
  const seen = new Set<string>();
  const fields: PlannedField[] = [];
  const add = (difference: Difference, effect: PlannedEffect): void => {
    if (seen.has(difference.path)) return;
    seen.add(difference.path);
    const message = reasons.get(difference.path);
    fields.push({ ...toFieldChange(toKnown(difference)), effect, ...(message === undefined ? {} : { message }) });
  };
  for (const difference of restartRequired) add(difference, 'restart');
  for (const step of steps) for (const difference of step.differences) add(difference, 'live');
  return fields.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** What libvirt already ignored before this change is in the machine's status, and nothing new. */
function newlyIgnored(
  fields: readonly PlannedField[],
  view: DomainView,
  ignored: readonly KnownDifference[],
): PlannedField[] {
  const before = view.mark?.ignored ?? [];
  return fields.filter((_field, index) => {
    const one = ignored[index];
    return !before.some(({ path, to }) => path === one?.path && to === one.to);
  });
}

/** The domain that is asked for, or why there can be none yet. */
async function resolve(
  machine: VirtualMachine,
  sources: PlanSources,
  signal: AbortSignal,
): Promise<DataObject | string> {
  const { traits } = sources;
  try {
    const volumes = await resolveVolumes(machine, sources, signal);
    const interfaces = await resolveInterfaces(machine, sources.networks, signal);
    const disks = volumes.map(({ disk }) => disk);
    const wanted = desiredDomain(machine, { disks, interfaces }, traits);
    if (wanted['type'] === 'kvm' && !traits.kvmUsable) {
      return `KVM cannot be used on node ${sources.nodeName}: ${traits.kvmMessage}`;
    }
    return wanted;
  } catch (error) {
    if (!(error instanceof NotReadyError)) throw error;
    return error.message;
  }
}
