/**
 * The definition of a machine's domain: what it is to be, whether it is, and making it so. After a define libvirt is asked
 * what it kept.
 */
import { compareRemoved, compareWanted, type Difference } from './compare.ts';
import { movePath } from './desired-domain.ts';
import {
  bootElement,
  bootNamespace,
  machineElement,
  machineNamespace,
  withoutSecrets,
  type BootMark,
  type KnownDifference,
  type MachineMark,
} from './domain-metadata.ts';
import { foreignMetadata, readDomain, type DomainView, type LibvirtCallOptions } from './domain-view.ts';
import { canonical } from './list-identity.ts';
import { markedMetadata } from './marked-metadata.ts';
import { mergeDomain } from './merge.ts';
import { isList, isObject, memberAt, type Data, type DataObject } from './same-value.ts';
import type { FieldChange, VirtualMachine } from '../../api/virtual-machine.ts';
import { elementXml } from '../../convertor/element-xml.ts';
import { render, type OverlayEntry } from '../../convertor/render.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';

/** How a definition stands to what is asked for. */
export interface DefinitionDrift {
  /** What spec sets and the definition has otherwise, except what libvirt is known not to keep. */
  readonly differences: readonly Difference[];
  /** Whether somebody took the definition away while the domain runs; libvirt still says what it was. */
  readonly isUndefined: boolean;
  /** Whether spec changed since it was applied: then a difference is no drift. */
  readonly specChanged: boolean;
  /** Whether the definition must be made anew, or only our mark in it. */
  readonly needed: 'define' | 'mark' | 'nothing';
}

/** Compares a definition with what is asked for. */
export function compareDefinition(machine: VirtualMachine, wanted: DataObject, view: DomainView): DefinitionDrift {
  const { mark, inactive, isPersistent } = view;
  const applied = mark?.applied ?? {};
  const differences = [...compareWanted(wanted, inactive), ...compareRemoved(applied, wanted, inactive)];
  const unknown = differences.filter((difference) => !isKnown(difference, mark?.ignored ?? []));
  const overlay = withoutSecrets(plain(machine.spec.overlay ?? []));
  const specChanged =
    mark === undefined ||
    asJson(withoutSecrets(wanted)) !== asJson(mark.applied) ||
    asJson(overlay) !== asJson(memberAt(mark.spec, 'overlay') ?? []);
  const markChanged =
    mark?.uid !== machine.metadata.uid ||
    mark?.namespace !== machine.metadata.namespace ||
    mark?.name !== machine.metadata.name ||
    asJson(plain(markedMetadata(machine))) !== asJson(plain(mark?.metadata)) ||
    asJson(withoutSecrets(plain(machine.spec))) !== asJson(mark?.spec ?? {});
  // A domain that was there before its machine, and is as asked for, is only marked.
  const isAdopted = mark === undefined && unknown.length === 0 && lostOverlay(machine, view).length === 0;
  // A mark is kept in the definition: where there is none, it cannot be written.
  const isOther = (specChanged && !isAdopted) || unknown.length > 0 || !isPersistent;
  const needed = isOther ? 'define' : markChanged || isAdopted ? 'mark' : 'nothing';
  return { differences: unknown, isUndefined: !isPersistent, specChanged, needed };
}

/**
 * Defines the domain of a machine, and notes what libvirt did not keep.
 *
 * @param view What there is; undefined when there is no domain yet.
 * @returns What libvirt has now.
 * @throws LibvirtError when libvirt refuses it.
 */
export async function define(
  libvirt: Libvirt,
  machine: VirtualMachine,
  wanted: DataObject,
  view: DomainView | undefined,
  options: LibvirtCallOptions,
): Promise<DomainView | undefined> {
  const domain = await libvirt.domains.defineXml(definitionXml(machine, wanted, view), options);
  const after = await readDomain(domain, options);
  if (after === undefined) return undefined;
  const mark = machineMark(machine, wanted, []);
  const ignored = notKept(machine, wanted, after);
  if (ignored.length === 0) return after;
  const noted = { ...mark, ignored };
  await writeMark(after, noted, options);
  return { ...after, mark: noted };
}

/**
 * The XML that {@link define} gives libvirt.
 *
 * @param identity Another name and UUID for a definition that only tries out what libvirt makes of it: without our mark,
 *   so that nobody takes it for the machine's own.
 */
export function definitionXml(
  machine: VirtualMachine,
  wanted: DataObject,
  view: DomainView | undefined,
  identity?: { readonly name: string; readonly uuid: string },
): string {
  const merged = mergeDomain(view?.mark?.applied ?? {}, wanted, view?.inactive);
  const own = identity === undefined ? [elementXml(machineElement(machineMark(machine, wanted, [])))] : [];
  const metadata = [...own, ...otherMetadata(wanted, view)];
  const overlay = overlayOf(machine, wanted, merged, view);
  return render('domain', { ...merged, ...identity, metadata, id: undefined }, overlay, { pretty: false });
}

/** What libvirt did not keep of a definition. */
export function notKept(
  machine: VirtualMachine,
  wanted: DataObject,
  after: Pick<DomainView, 'inactive' | 'inactiveOverlay'>,
): KnownDifference[] {
  return [...compareWanted(wanted, after.inactive).map(toKnown), ...lostOverlay(machine, after)];
}

/** Brings our mark up to date where the domain itself is as asked for. */
export async function refreshMark(
  machine: VirtualMachine,
  wanted: DataObject,
  view: DomainView,
  options: LibvirtCallOptions,
): Promise<DomainView> {
  const mark = machineMark(machine, wanted, view.mark?.ignored ?? []);
  await writeMark(view, mark, options);
  return { ...view, mark };
}

function machineMark(machine: VirtualMachine, wanted: DataObject, ignored: readonly KnownDifference[]): MachineMark {
  return {
    namespace: machine.metadata.namespace ?? 'default',
    name: machine.metadata.name ?? '',
    uid: machine.metadata.uid ?? '',
    generation: machine.metadata.generation ?? 0,
    metadata: markedMetadata(machine),
    spec: withoutSecrets(plain(machine.spec)),
    applied: withoutSecrets(wanted),
    ignored,
  };
}

async function writeMark(
  view: DomainView,
  mark: MachineMark,
  options: LibvirtCallOptions,
  where: 'live' | 'config' = 'config',
): Promise<void> {
  await view.domain.setMetadata(elementXml({ ...machineElement(mark), namespace: undefined }), {
    type: 'element',
    uri: machineNamespace,
    key: 'virtctl',
    [where]: true,
    ...options,
  });
}

/**
 * Remembers in the running domain what it is given from now on, beside all that it was given since its start: what spec
 * sets and takes back again must be found and taken away.
 *
 * @param waiting What waits for the next start, and so is not given to it.
 */
export async function rememberApplied(
  wanted: DataObject,
  waiting: readonly Difference[],
  view: DomainView,
  options: LibvirtCallOptions,
): Promise<DomainView> {
  const { liveMark, mark } = view;
  const base = liveMark ?? mark;
  if (base === undefined) return view;
  const given = without(
    wanted,
    waiting.map(({ path }) => path),
  );
  const applied = withoutSecrets(mergeDomain({}, given, base.applied));
  if (liveMark !== undefined && asJson(applied) === asJson(liveMark.applied)) return view;
  const remembered = { ...base, applied };
  await writeMark(view, remembered, options, 'live');
  return { ...view, liveMark: remembered };
}

/** A domain without what stands at these paths. */
function without(domain: DataObject, paths: readonly string[]): DataObject {
  const gone = new Set(paths);
  const strip = (value: Data, at: string): Data | undefined => {
    if (gone.has(at)) return undefined;
    if (isList(value)) {
      return value.map((entry, index) => strip(entry, `${at}[${index}]`)).filter((entry) => entry !== undefined);
    }
    if (!isObject(value)) return value;
    const members = Object.entries(value).flatMap(([key, member]): [string, Data][] => {
      const kept = member === undefined ? undefined : strip(member, at === '' ? key : `${at}.${key}`);
      return kept === undefined ? [] : [[key, kept]];
    });
    // An element of which nothing is left was not given either.
    return members.length === 0 && Object.keys(value).length > 0 ? undefined : Object.fromEntries(members);
  };
  const stripped = strip(domain, '');
  return isObject(stripped) ? stripped : {};
}

/** Writes the mark of a boot into the running domain. */
export async function markBoot(view: DomainView, boot: BootMark, options: LibvirtCallOptions): Promise<void> {
  await view.domain.setMetadata(elementXml({ ...bootElement(boot), namespace: undefined }), {
    type: 'element',
    uri: bootNamespace,
    key: 'boot',
    live: true,
    ...options,
  });
}

/** Differences as they are remembered: passwords are not. */
export function toKnown({ path, to, from }: Difference): KnownDifference {
  return {
    path,
    ...(to === undefined ? {} : { to: asJson(withoutSecrets(to)) }),
    ...(from === undefined ? {} : { from: asJson(withoutSecrets(from)) }),
  };
}

/** Differences as status shows them. Long values are cut off. */
export function toFieldChange(known: KnownDifference & { readonly message?: string | undefined }): FieldChange {
  const cut = (text: string | undefined): string | undefined =>
    text !== undefined && text.length > 512 ? `${text.slice(0, 509)}...` : text;
  const { path, message } = known;
  const [from, to] = [cut(known.from), cut(known.to)];
  return {
    path,
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(message === undefined ? {} : { message }),
  };
}

/** Whether a difference is one that was there before, with the same values. */
export function isKnown(difference: Difference, known: readonly KnownDifference[]): boolean {
  const { path, to, from } = toKnown(difference);
  return known.some((one) => one.path === path && one.to === to && one.from === from);
}

/** The user's metadata where there is any, else what others put there. */
function otherMetadata(wanted: DataObject, view: DomainView | undefined): string[] {
  const own = wanted['metadata'];
  if (isList(own)) return own.filter((xml): xml is string => typeof xml === 'string');
  return foreignMetadata(view?.inactive);
}

/** The overlay of spec, and what libvirt has that the tables do not know, each at its place in the merged domain. */
function overlayOf(
  machine: VirtualMachine,
  wanted: DataObject,
  merged: DataObject,
  view: DomainView | undefined,
): OverlayEntry[] {
  const own = specOverlay(machine);
  const moved = own.map((entry) => ({ ...entry, at: movePath(entry.at, wanted, merged) ?? entry.at }));
  const names = new Set(moved.map(overlayName));
  const before = asOverlay(memberAt(view?.mark?.spec, 'overlay'));
  const dropped = new Set(before.map((entry) => overlayName(entry)));
  const theirs = (view?.inactiveOverlay ?? []).flatMap((entry) => {
    const at = movePath(entry.at, view?.inactive ?? {}, merged);
    const here = at === undefined ? undefined : { ...entry, at };
    return here === undefined || names.has(overlayName(here)) || dropped.has(overlayName(here)) ? [] : [here];
  });
  return [...theirs, ...moved];
}

function specOverlay(machine: VirtualMachine): OverlayEntry[] {
  return (machine.spec.overlay ?? []).map(({ at, xml, attributes }) => ({
    at,
    ...(xml === undefined ? {} : { xml }),
    ...(attributes === undefined ? {} : { attributes }),
  }));
}

/** What an overlay entry adds, and where: the element's name, or those of the attributes. */
function overlayName({ at, xml, attributes }: OverlayEntry): string {
  const element = xml === undefined ? '' : (/<\s*([^\s/>]+)/.exec(xml)?.[1] ?? xml);
  return `${at} ${element} ${Object.keys(attributes ?? {}).join(' ')}`;
}

/** Overlay entries of spec that libvirt did not keep. */
function lostOverlay(machine: VirtualMachine, view: Pick<DomainView, 'inactiveOverlay'>): KnownDifference[] {
  return specOverlay(machine).flatMap((entry, index): KnownDifference[] => {
    if (entry.xml === undefined) return [];
    const name = overlayName({ ...entry, at: '' });
    const kept = view.inactiveOverlay.some((one) => overlayName({ ...one, at: '' }) === name);
    return kept ? [] : [{ path: `overlay[${index}]`, to: JSON.stringify(entry.xml) }];
  });
}

function asOverlay(value: Data | undefined): OverlayEntry[] {
  return isList(value) ? (value as unknown as OverlayEntry[]) : [];
}

function asJson(value: Data): string {
  return JSON.stringify(canonical(value));
}

/** An object of the API as plain data. */
function plain(value: unknown): Data {
  return JSON.parse(JSON.stringify(value ?? {})) as Data;
}
