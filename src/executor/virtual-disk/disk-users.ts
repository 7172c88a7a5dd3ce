/** Who uses a volume: objects by their specs, and libvirt's domains by their devices. */
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { isInvalidState, isNotFound } from '../../libvirt/errors.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { analyse } from '../../analyser/analyse.ts';

/** A domain that has a volume. */
export interface VolumeUser {
  readonly domain: Domain;
  /** The device it is, as `vda`; undefined where it is only in the chain below a device. */
  readonly target: string | undefined;
}

/**
 * The domains of the node that have a path as a disk, or below one as its backing file. A disk that names a volume of a pool
 * counts by the path that the volume has now; pools are asked only where there is such a disk.
 *
 * @param active Those that run, by their live devices; else all, by their definitions too.
 */
export async function domainsWith(
  libvirt: Libvirt,
  path: string,
  active: boolean,
  signal: AbortSignal,
): Promise<VolumeUser[]> {
  const found: VolumeUser[] = [];
  const paths = new VolumePaths(libvirt, signal);
  for await (const [domain, xmls] of domainXmls(libvirt, active, signal)) {
    const users = await Promise.all(xmls.map((xml) => targetOf(xml, path, paths)));
    const user = users.find((one) => one !== undefined);
    if (user !== undefined) found.push({ domain, target: user === '' ? undefined : user });
  }
  return found;
}

/** The domains of the node, running or only defined, a disk of which names a volume of a pool; by names, sorted. */
export async function domainsInPool(libvirt: Libvirt, pool: string, signal: AbortSignal): Promise<string[]> {
  const found: string[] = [];
  for await (const [domain, xmls] of domainXmls(libvirt, false, signal)) {
    const sources = xmls.flatMap(disksOf).flatMap((disk) => sourcesOf(disk));
    if (sources.some((source) => textOf(memberAt(source, 'pool')) === pool)) found.push(domain.name);
  }
  return found.sort();
}

/** Each domain with its live XML and, unless only those that run are meant, its definition. */
async function* domainXmls(
  libvirt: Libvirt,
  active: boolean,
  signal: AbortSignal,
): AsyncGenerator<readonly [Domain, readonly string[]]> {
  for (const domain of await libvirt.domains.list(active ? { active: true, signal } : { signal })) {
    try {
      const xmls = [await domain.xml({ signal })];
      if (!active) xmls.push(await domain.xml({ inactive: true, signal }));
      yield [domain, xmls];
    } catch (error) {
      // It is gone meanwhile.
      if (!isNotFound(error)) throw error;
    }
  }
}

/** @returns The device, empty where the path is below one only; undefined where it is not there. */
async function targetOf(xml: string, path: string, paths: VolumePaths): Promise<string | undefined> {
  for (const disk of disksOf(xml)) {
    for (const [depth, source] of sourcesOf(disk).entries()) {
      if (!(await isAt(source, path, paths))) continue;
      return depth === 0 ? textOf(memberAt(disk, 'target', 'dev')) : '';
    }
  }
  return undefined;
}

function disksOf(xml: string): readonly Data[] {
  const disks = memberAt(analyse(xml).value as DataObject, 'devices', 'disk');
  return isList(disks) ? disks : [];
}

/** A disk's own source first, then those of the chain below it. */
function sourcesOf(disk: Data): (Data | undefined)[] {
  const sources = [memberAt(disk, 'source')];
  for (let below = memberAt(disk, 'backingStore'); isObject(below); below = below['backingStore']) {
    sources.push(below['source']);
  }
  return sources;
}

async function isAt(source: Data | undefined, path: string, paths: VolumePaths): Promise<boolean> {
  if (['file', 'dev'].some((key) => textOf(memberAt(source, key)) === path)) return true;
  const [pool, volume] = [textOf(memberAt(source, 'pool')), textOf(memberAt(source, 'volume'))];
  return pool !== '' && volume !== '' && (await paths.of(pool, volume)) === path;
}

/** Where volumes of pools are; each is asked for once. */
class VolumePaths {
  readonly #libvirt: Libvirt;
  readonly #signal: AbortSignal;
  readonly #asked = new Map<string, Promise<string | undefined>>();

  constructor(libvirt: Libvirt, signal: AbortSignal) {
    this.#libvirt = libvirt;
    this.#signal = signal;
  }

  /** Undefined where the pool or the volume is not there, or the pool does not run. */
  of(pool: string, volume: string): Promise<string | undefined> {
    const key = JSON.stringify([pool, volume]);
    const asked = this.#asked.get(key) ?? this.#ask(pool, volume);
    this.#asked.set(key, asked);
    return asked;
  }

  async #ask(pool: string, volume: string): Promise<string | undefined> {
    const options = { signal: this.#signal };
    try {
      const there = await this.#libvirt.pools.byName(pool, options);
      return await (await there.volume(volume, options)).path(options);
    } catch (error) {
      // A pool that does not run knows no volumes, and no guest can be started with one of them.
      if (isNotFound(error) || isInvalidState(error)) return undefined;
      throw error;
    }
  }
}
