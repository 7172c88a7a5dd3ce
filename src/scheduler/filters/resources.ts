import { formatSize } from '../amounts.ts';
import type { Failure, Filter } from '../plugin.ts';

/** CPUs, memory with QEMU's overhead, huge pages, the number of domains, and devices that only one machine can have. */
export const resources: Filter = ({ requests, uid }) => {
  const wanted = Object.entries(requests);
  return (node) => {
    if (!node.canNote && !node.allocation.has(uid)) return { reason: 'full of machines', crowded: true };
    for (const [resource, amount] of wanted) {
      const free = node.free(resource, uid);
      if (amount > free) return shortage(resource, amount, free, amount <= node.capacity(resource));
    }
    return undefined;
  };
};

function shortage(resource: string, amount: number, free: number, crowded: boolean): Failure {
  if (resource.startsWith('device/')) {
    return { reason: `whose host device ${resource.slice('device/'.length)} is taken`, crowded };
  }
  if (resource === 'domains') return { reason: 'full of machines', crowded };
  if (resource === 'cpu') {
    const has = { label: 'free', value: String(Math.max(0, Math.floor(free * 1000) / 1000)) };
    return { reason: 'too few CPUs', need: `needs ${amount}`, has, crowded };
  }
  const size = resource.startsWith('hugepages-') ? resource.slice('hugepages-'.length) : undefined;
  const reason = size === undefined ? 'too little memory' : `too few huge pages of ${size}`;
  return { reason, need: `needs ${formatSize(amount)}`, has: { label: 'free', value: formatSize(free) }, crowded };
}
