import { availability } from './availability.ts';
import { capabilities } from './capabilities.ts';
import { hostDevices } from './host-devices.ts';
import { machineAffinity } from './machine-affinity.ts';
import { networks } from './networks.ts';
import { nodeAffinity } from './node-affinity.ts';
import { resources } from './resources.ts';
import { taints } from './taints.ts';
import { topologySpread } from './topology-spread.ts';
import { copiedVolumes, volumes } from './volumes.ts';
import type { Filter } from '../plugin.ts';

/** Every filter. The first that speaks against a node gives the reason; resources come last, as other machines change them. */
export const allFilters: readonly Filter[] = [
  availability,
  nodeAffinity,
  taints,
  capabilities,
  volumes,
  networks,
  hostDevices,
  machineAffinity,
  topologySpread,
  resources,
];

/** Every filter, for a machine that takes its disks with it. */
export const copyingFilters: readonly Filter[] = allFilters.map((one) => (one === volumes ? copiedVolumes : one));

/** Those that only look at the node itself: asked once more at the moment a place is written down. */
export const nodeFilters: readonly Filter[] = [
  availability,
  nodeAffinity,
  taints,
  capabilities,
  networks,
  hostDevices,
  resources,
];
