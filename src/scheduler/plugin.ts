import type { MachineInfo } from './machine-info.ts';
import type { NodeInfo } from './node-info.ts';
import type { Snapshot } from './snapshot.ts';

/** Why a machine cannot be on a node. Nodes with the same reason and need are told of together. */
export interface Failure {
  /** As it follows a number of nodes: `too little memory`. */
  readonly reason: string;
  /** What the machine asks for: `needs 4 GiB`. */
  readonly need?: string | undefined;
  /** What this node has: `1.5 GiB`; the label comes before the first. */
  readonly has?: { readonly label: string; readonly value: string } | undefined;
  /** Whether another machine could make room by going away. */
  readonly crowded?: boolean | undefined;
}

/** Judges one node for the machine it was made for; undefined when nothing speaks against it. */
export type NodeTest = (node: NodeInfo) => Failure | undefined;

/** Rates one node, 0 to 100. */
export type NodeRating = (node: NodeInfo) => number;

/**
 * A filter: prepared once for a machine, then asked for each node. Pure: reads the snapshot only.
 *
 * @returns undefined when it has nothing to say about this machine.
 */
export type Filter = (machine: MachineInfo, snapshot: Snapshot) => NodeTest | undefined;

/** A score: as a filter. The weight says how much it counts. */
export interface Score {
  readonly weight: number;
  readonly prepare: (machine: MachineInfo, snapshot: Snapshot) => NodeRating | undefined;
}
