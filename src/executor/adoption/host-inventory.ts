/** A host's pools, volumes and networks, each asked for once, as the objects that they become are made from them. */
import type { LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import { analyse, type OverlayEntry } from '../../analyser/analyse.ts';
import { isInvalidState, isNotFound, LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** A pool or network as it is. */
export interface HostDocument {
  readonly name: string;
  readonly uuid: string;
  readonly value: DataObject;
  readonly overlay: readonly OverlayEntry[];
  readonly active: boolean;
  readonly autostart: boolean;
}

/** A volume in a pool. */
export interface HostVolume {
  readonly pool: string;
  readonly name: string;
  readonly path: string;
  readonly format: string;
  /** The file that it lies over, if any. */
  readonly backing?: { readonly path: string; readonly format: string } | undefined;
}

/** See the head of this file. */
export class HostInventory {
  readonly #libvirt: Libvirt;
  readonly #options: LibvirtCallOptions & { readonly signal: AbortSignal };
  readonly #pools = new Map<string, Promise<HostDocument>>();
  readonly #networks = new Map<string, Promise<HostDocument | undefined>>();
  readonly #volumes = new Map<string, Promise<HostVolume | undefined>>();
  readonly #refreshed = new Map<string, Promise<void>>();

  constructor(libvirt: Libvirt, signal: AbortSignal) {
    this.#libvirt = libvirt;
    this.#options = { signal, timeoutMs: 30_000 };
  }

  /** The volume at a path; undefined where it is in no pool that runs. */
  volumeAt(path: string): Promise<HostVolume | undefined> {
    return remember(this.#volumes, path, () => this.#describe(this.#libvirt.pools.volumeByPath(path, this.#options)));
  }

  /** The volume of a name in a pool; undefined where there is none. */
  volumeIn(pool: string, name: string): Promise<HostVolume | undefined> {
    return remember(this.#volumes, `${pool}\0${name}`, () =>
      this.#describe(this.#libvirt.pools.byName(pool, this.#options).then((one) => one.volume(name, this.#options))),
    );
  }

  async #describe(found: Promise<Volume>): Promise<HostVolume | undefined> {
    try {
      const volume = await found;
      // Of libvirt alone: what it reads itself is another host's file when libvirt is reached from afar.
      const { value } = read(await volume.xml(this.#options));
      const format = textOf(memberAt(value, 'target', 'format', 'type'));
      const path = await volume.path(this.#options);
      const below = textOf(memberAt(value, 'backingStore', 'path'));
      const backing = { path: below, format: textOf(memberAt(value, 'backingStore', 'format', 'type')) || 'raw' };
      return {
        ...{ pool: volume.pool, name: volume.name, path, format: format === '' ? 'raw' : format },
        ...(below === '' ? {} : { backing }),
      };
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Has libvirt look once what is in a pool: files come and go without it, by snapshots and merges. */
  refresh(pool: string): Promise<void> {
    return remember(this.#refreshed, pool, async () => {
      try {
        await (await this.#libvirt.pools.byName(pool, this.#options)).refresh(this.#options);
      } catch (error) {
        // A volume is being made or filled there: what libvirt knows already has to do.
        if (!isInvalidState(error) && !/asynchronous jobs/.test(String(error))) throw error;
      }
      this.#volumes.clear();
    });
  }

  /**
   * Why the memory of a guest cannot be read from a file.
   *
   * @returns libvirt's words; undefined where it can.
   */
  async memoryProblem(path: string): Promise<string | undefined> {
    try {
      await this.#libvirt.domains.savedXml(path, this.#options);
      return undefined;
    } catch (error) {
      if (error instanceof LibvirtError) return error.message;
      throw error;
    }
  }

  /** A pool that is there. */
  pool(name: string): Promise<HostDocument> {
    return remember(this.#pools, name, async () => {
      const pool = await this.#libvirt.pools.byName(name, this.#options);
      const isPersistent = await pool.isPersistent(this.#options);
      return {
        ...{ name, uuid: pool.uuid },
        ...read(await pool.xml({ inactive: isPersistent, ...this.#options })),
        active: await pool.isActive(this.#options),
        autostart: isPersistent && (await pool.autostart(this.#options)),
      };
    });
  }

  /** A network; undefined where there is none. */
  network(name: string): Promise<HostDocument | undefined> {
    return remember(this.#networks, name, async () => {
      try {
        const network = await this.#libvirt.networks.byName(name, this.#options);
        const isPersistent = await network.isPersistent(this.#options);
        return {
          ...{ name, uuid: network.uuid },
          ...read(await network.xml({ inactive: isPersistent, ...this.#options })),
          active: await network.isActive(this.#options),
          autostart: isPersistent && (await network.autostart(this.#options)),
        };
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    });
  }
}

function read(xml: string): { value: DataObject; overlay: readonly OverlayEntry[] } {
  const { value, overlay } = analyse(xml, { maxBytes: maxReportedBytes });
  return { value: value as DataObject, overlay };
}

/** At most as many entries as the host has. */
function remember<T>(map: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  let found = map.get(key);
  if (found === undefined) {
    found = make();
    map.set(key, found);
  }
  return found;
}
