import type { Host } from './open-hosts.ts';
import type { HostDocument } from '../../executor/adoption/host-inventory.ts';
import type { AdoptingNode } from '../../executor/adoption/known-objects.ts';

/** What differs between pools that are alike. */
const ownOfEach: ReadonlySet<string> = new Set(['uuid', 'capacity', 'allocation', 'available']);

/** Which of the hosts have a pool: those are one VirtualPool, as it was. */
export class NodesWithPool {
  readonly #hosts: readonly Host[];
  readonly #signal: AbortSignal;

  constructor(hosts: readonly Host[], signal: AbortSignal) {
    this.#hosts = hosts;
    this.#signal = signal;
  }

  /** The nodes that have a pool of the same name, definition and state. */
  async nodesWith(pool: HostDocument): Promise<readonly AdoptingNode[]> {
    const nodes: AdoptingNode[] = [];
    for (const { node, libvirt, inventory } of this.#hosts) {
      const pools = await libvirt.pools.list({ signal: this.#signal });
      if (!pools.some(({ name }) => name === pool.name)) continue;
      if (textOf(await inventory.pool(pool.name)) === textOf(pool)) nodes.push(node);
    }
    return nodes;
  }
}

function textOf({ value, overlay, active, autostart }: HostDocument): string {
  const definition = Object.fromEntries(Object.entries(value).filter(([key]) => !ownOfEach.has(key)));
  return JSON.stringify([definition, overlay, active, autostart]);
}
