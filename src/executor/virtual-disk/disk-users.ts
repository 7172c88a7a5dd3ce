/** Who uses a volume or a pool: libvirt's domains, by what their devices and firmware name. */
import { posix } from 'node:path';
import { realpath } from 'node:fs/promises';
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
 * counts by the path that the volume has now; pools are asked only where there is such a disk. A domain that is off tells
 * nothing of what lies below its disks: what libvirt's pools know of it counts.
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
  const places = new Places(libvirt, signal);
  for await (const [domain, xmls] of domainXmls(libvirt, active, signal)) {
    const users = await Promise.all(xmls.map((xml) => targetOf(xml, path, places)));
    const user = users.find((one) => one !== undefined);
    if (user !== undefined) found.push({ domain, target: user === '' ? undefined : user });
  }
  return found;
}

/**
 * The domains of the node that need a pool, by names, sorted: a disk names a volume of it, or a disk, its backing file, a
 * shared folder, a kernel or a file of the firmware is one of its files by its path.
 *
 * @param active Those that run; else those too that are only defined.
 */
export async function domainsInPool(
  libvirt: Libvirt,
  pool: string,
  active: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  const found: string[] = [];
  const places = new Places(libvirt, signal);
  const isIn = await places.membersOf(pool);
  for await (const [domain, xmls] of domainXmls(libvirt, active, signal)) {
    if (await someAsync(xmls, (xml) => isInPool(readDomainXml(xml), pool, isIn, places))) found.push(domain.name);
  }
  return found.sort();
}

async function isInPool(
  domain: DataObject,
  pool: string,
  isIn: (path: string) => Promise<boolean>,
  places: Places,
): Promise<boolean> {
  for (const disk of disksOf(domain)) {
    const sources = sourcesOf(disk);
    if (sources.some((source) => textOf(memberAt(source, 'pool')) === pool)) return true;
    const paths = sources.flatMap(pathsOf);
    if (await someAsync(paths, isIn)) return true;
    if (await someAsync(await places.below(disk), isIn)) return true;
  }
  return someAsync(otherPathsOf(domain), isIn);
}

async function someAsync<T>(all: readonly T[], holds: (one: T) => Promise<boolean>): Promise<boolean> {
  for (const one of all) if (await holds(one)) return true;
  return false;
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
async function targetOf(xml: string, path: string, places: Places): Promise<string | undefined> {
  for (const disk of disksOf(readDomainXml(xml))) {
    for (const [depth, source] of sourcesOf(disk).entries()) {
      if (!(await isAt(source, path, places))) continue;
      return depth === 0 ? textOf(memberAt(disk, 'target', 'dev')) : '';
    }
    if (await someAsync(await places.below(disk), (below) => places.isSame(below, path))) return '';
  }
  return undefined;
}

function readDomainXml(xml: string): DataObject {
  return analyse(xml).value as DataObject;
}

function disksOf(domain: DataObject): readonly Data[] {
  return listAt(domain, 'disk');
}

function listAt(domain: DataObject, kind: string): readonly Data[] {
  const list = memberAt(domain, 'devices', kind);
  return isList(list) ? list : [];
}

/** A disk's own source first, then those of the chain below it, then where a job copies it to. */
function sourcesOf(disk: Data): (Data | undefined)[] {
  const sources = [memberAt(disk, 'source')];
  for (let below = memberAt(disk, 'backingStore'); isObject(below); below = below['backingStore']) {
    sources.push(below['source']);
  }
  return [...sources, memberAt(disk, 'mirror', 'source')];
}

/** What a source is on the host. */
function pathsOf(source: Data | undefined): string[] {
  return ['file', 'dev', 'dir'].map((key) => textOf(memberAt(source, key))).filter((path) => path !== '');
}

/** Files and folders of the host that a domain names elsewhere than in its disks. */
function otherPathsOf(domain: DataObject): string[] {
  const os = domain['os'];
  const booted = [
    ...['kernel', 'initrd', 'dtb'].map((key) => memberAt(os, key)),
    ...['loader', 'nvram'].map((key) => memberAt(os, key, 'value')),
  ];
  const shared = listAt(domain, 'filesystem').flatMap((one) => pathsOf(memberAt(one, 'source')));
  return [...booted.map(textOf), ...shared].filter((path) => path !== '');
}

async function isAt(source: Data | undefined, path: string, places: Places): Promise<boolean> {
  if (await someAsync(pathsOf(source), (one) => places.isSame(one, path))) return true;
  const [pool, volume] = [textOf(memberAt(source, 'pool')), textOf(memberAt(source, 'volume'))];
  const at = pool === '' || volume === '' ? undefined : await places.ofVolume(pool, volume);
  return at !== undefined && places.isSame(at, path);
}

/** Pools whose volumes are the files directly in their folder, and those that are a file system mounted there. */
const folderTypes: ReadonlySet<string> = new Set(['dir']);
const mountTypes: ReadonlySet<string> = new Set(['fs', 'netfs', 'vstorage', 'logical']);

/** Where volumes and pools are, and what is below them; each is asked for once. */
class Places {
  readonly #libvirt: Libvirt;
  readonly #options: { readonly signal: AbortSignal };
  readonly #asked = new Map<string, Promise<string | undefined>>();

  constructor(libvirt: Libvirt, signal: AbortSignal) {
    this.#libvirt = libvirt;
    this.#options = { signal };
  }

  /** The path of a volume; undefined where the pool or the volume is not there, or the pool does not run. */
  ofVolume(pool: string, volume: string): Promise<string | undefined> {
    return this.#once(`volume ${JSON.stringify([pool, volume])}`, async () => {
      const there = await this.#libvirt.pools.byName(pool, this.#options);
      return (await there.volume(volume, this.#options)).path(this.#options);
    });
  }

  /** Whether two paths are one file, however they are written. */
  async isSame(one: string, other: string): Promise<boolean> {
    return one === other || (await this.#real(one)) === (await this.#real(other));
  }

  /**
   * What lies below a disk of a domain that is off, nearest first; of one that runs libvirt tells it in the domain. Nothing
   * below a raw disk, whose content a guest could make look like another format.
   */
  async below(disk: Data): Promise<readonly string[]> {
    if (isObject(memberAt(disk, 'backingStore'))) return [];
    if (['', 'raw'].includes(textOf(memberAt(disk, 'driver', 'type')))) return [];
    const source = memberAt(disk, 'source');
    const [pool, volume] = [textOf(memberAt(source, 'pool')), textOf(memberAt(source, 'volume'))];
    let path = pathsOf(source)[0] ?? (pool === '' ? undefined : await this.ofVolume(pool, volume));
    const found: string[] = [];
    while (path !== undefined) {
      path = await this.#backingOf(path);
      if (path === undefined || found.includes(path)) break;
      found.push(path);
    }
    return found;
  }

  /** What says of a path whether it is a file of a pool. */
  async membersOf(name: string): Promise<(path: string) => Promise<boolean>> {
    let paths: ReadonlySet<string> = new Set();
    let folder: string | undefined;
    let type = '';
    try {
      const pool = await this.#libvirt.pools.byName(name, this.#options);
      const xml = analyse(await pool.xml(this.#options)).value as DataObject;
      type = textOf(xml['type']);
      folder = textOf(memberAt(xml, 'target', 'path')) || undefined;
      // The devices of a disk, of a SCSI adapter and of iSCSI lie among those of others.
      if (!folderTypes.has(type) && !mountTypes.has(type)) {
        folder = undefined;
        const volumes = await pool.volumes(this.#options);
        // One that went away meanwhile says nothing of the others.
        const found = await Promise.all(volumes.map((volume) => unlessGone(() => volume.path(this.#options))));
        paths = new Set(found.filter((path) => path !== undefined));
      }
    } catch (error) {
      // A pool that is gone or does not run has no volumes.
      if (!isNotFound(error) && !isInvalidState(error)) throw error;
    }
    return async (path) => {
      const files = [posix.normalize(path), await this.#real(path)];
      if (folder === undefined) return files.some((file) => paths.has(file));
      // Logical volumes are links to where none of their group's name is left.
      const folders = [posix.normalize(folder), await this.#real(folder)];
      return folders.some((at) =>
        files.some(
          (file) => file === at || posix.dirname(file) === at || (mountTypes.has(type) && file.startsWith(`${at}/`)),
        ),
      );
    };
  }

  /** @returns undefined where no running pool has the file, or nothing lies below it. */
  #backingOf(path: string): Promise<string | undefined> {
    return this.#once(`below ${path}`, async () => {
      const volume = await this.#libvirt.pools.volumeByPath(path, this.#options);
      const xml = analyse(await volume.xml(this.#options)).value as DataObject;
      return textOf(memberAt(xml, 'backingStore', 'path')) || undefined;
    });
  }

  async #real(path: string): Promise<string> {
    return (await this.#once(`path ${path}`, () => realPath(path))) ?? path;
  }

  #once(key: string, ask: () => Promise<string | undefined>): Promise<string | undefined> {
    const asked = this.#asked.get(key) ?? unlessGone(ask);
    this.#asked.set(key, asked);
    return asked;
  }
}

/** A pool that does not run knows no volumes, and no guest can be started with one of them. */
async function unlessGone(ask: () => Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (isNotFound(error) || isInvalidState(error)) return undefined;
    throw error;
  }
}

/** Without links, as far as it is there; libvirt may be on another machine, or see what we do not. */
async function realPath(path: string): Promise<string> {
  const rest: string[] = [];
  for (let at = posix.normalize(path); ; at = posix.dirname(at)) {
    try {
      return posix.join(await realpath(at), ...rest);
    } catch {
      if (at === posix.dirname(at)) return posix.normalize(path);
      rest.unshift(posix.basename(at));
    }
  }
}
