import { networkObject, type AdoptionContext } from './host-objects.ts';
import { markOf } from '../virtual-network/network-mark.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';

/** Makes the lost VirtualNetworks of a host again: those whose networks carry our mark. */
export async function recoverNetworks(context: AdoptionContext, libvirt: Libvirt, signal: AbortSignal): Promise<void> {
  for (const { name } of await libvirt.networks.list({ signal })) {
    const host = await context.inventory.network(name);
    const mark = markOf(host?.value['metadata']);
    if (mark === undefined || context.known.network(mark.namespace, mark.name) !== undefined) continue;
    await networkObject(context, mark.namespace, name);
  }
}
