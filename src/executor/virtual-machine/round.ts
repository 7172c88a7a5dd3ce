/**
 * What one reconcile of a machine works with: both sides as read, what is wanted, what went wrong. The steps of reconciler.ts
 * each take it and leave it further on.
 */
import type { DiskSecrets } from '../virtual-disk/disk-secrets.ts';
import type { FileHolds } from '../virtual-disk/file-holds.ts';
import type { DiskUser } from './disk-claims.ts';
import type { GuestRequests } from './guest-requests.ts';
import type { NodeTraits } from './desired-domain.ts';
import { findDomain, readDomain, type DomainView, type LibvirtCallOptions } from './domain-view.ts';
import type { Plugs } from './interfaces.ts';
import type { MachineStatus } from './machine-status.ts';
import type { Media } from './media.ts';
import type { ShutdownRequests } from './power.ts';
import type { PlugReport } from './replug-interfaces.ts';
import type { DataObject } from './same-value.ts';
import type { RunningMigrations } from '../migration/running-migrations.ts';
import type { MachineSnapshots } from '../virtual-machine-snapshot/machine-snapshots.ts';
import type { ConfigMapObject, ResolvedVolume, SecretObject } from './volumes.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { VirtualNetwork } from '../../api/virtual-network.ts';
import { machineUuid } from '../../api/machine-uuid.ts';
import { domainName, type FieldChange, type VirtualMachine } from '../../api/virtual-machine.ts';
import type { Clock } from '../../base/clock.ts';
import { formatProblem, InvalidInputError } from '../../base/errors.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { EventRecord } from '../../reconcile/event-recorder.ts';

/** What the reconciler works with. */
export interface MachineReconcilerOptions {
  readonly nodeName: string;
  readonly machines: ResourceClient<VirtualMachine>;
  readonly operations: ResourceClient<VirtualMachineOperation>;
  readonly disks: ResourceClient<VirtualDisk>;
  readonly images: ResourceClient<VirtualImage>;
  readonly networks: ResourceClient<VirtualNetwork>;
  readonly plugs: Plugs;
  readonly secrets: ResourceClient<SecretObject>;
  readonly configMaps: ResourceClient<ConfigMapObject>;
  readonly media: Media;
  readonly diskSecrets: DiskSecrets;
  readonly fileHolds: FileHolds;
  /** The machines that name a VirtualDisk, on all nodes. */
  readonly diskUsers: (namespace: string, name: string) => readonly DiskUser[];
  readonly snapshots: MachineSnapshots;
  /** The connection to libvirt; undefined while there is none. */
  readonly libvirt: () => Libvirt | undefined;
  /** Names of a machine's operations that may not be over, as last seen, oldest first. */
  readonly openOperations: (key: string) => readonly string[];
  readonly traits: () => NodeTraits & { readonly kvmUsable: boolean; readonly kvmMessage: string };
  readonly record: (event: EventRecord) => void;
  readonly clock: Clock;
  readonly newId: () => string;
}

/** What failed on its own account is tried again after this long, in milliseconds. */
export const retryMs = 15_000;

/** What is remembered from one reconcile to the next. Lost with the process, and nothing depends on it. */
export interface Memory {
  readonly requests: ShutdownRequests;
  readonly guests: GuestRequests;
  /** How often a machine's live changes were refused, one after the other. */
  readonly refusals: Map<string, number>;
  readonly migrations: RunningMigrations;
}

/** One reconcile's state. */
export interface Round {
  /** `namespace/name`. */
  readonly key: string;
  /**
   * The operations that were open before the machine was read, oldest first: its spec is at least as new as they are. One
   * that came since may belong to a newer spec than the one at hand; it brings a round of its own. Whether a migration or a
   * revert goes on already is no matter of the spec, and is asked of the list of the moment.
   */
  readonly operations: readonly string[];
  readonly parts: MachineReconcilerOptions;
  readonly memory: Memory;
  readonly libvirt: Libvirt;
  readonly status: MachineStatus;
  readonly options: LibvirtCallOptions;
  readonly signal: AbortSignal;
  view: DomainView | undefined;
  wanted: DataObject | undefined;
  volumes: readonly ResolvedVolume[];
  /** What became of interfaces whose network stopped. */
  plugged: PlugReport;
  /** The paths of live changes that this machine cannot make at all, which is no failure. */
  limits: ReadonlySet<string>;
  /** What was told in this round of changes behind our back; see tell-drift.ts. */
  drift: readonly FieldChange[];
  /** Why `wanted` is not there, or could not be defined. */
  trouble: Error | undefined;
  requeueAfterMs: number | undefined;
}

/**
 * Reads the machine's domain, if there is one. Where an API server without our admission let somebody change name and UUID,
 * it is the one that status names: a second must not appear beside it.
 */
export async function readMachineDomain(round: Round): Promise<void> {
  const { status, parts, libvirt, options } = round;
  const { machine } = status;
  const name = domainName(machine);
  const known = machine.status?.nodeName === parts.nodeName ? machine.status.domain?.uuid : undefined;
  const domain =
    (await findDomain(libvirt, name, machineUuid(machine), options)) ??
    (known === undefined || known === machineUuid(machine)
      ? undefined
      : await findDomain(libvirt, name, known, options));
  round.view = domain === undefined ? undefined : await readDomain(domain, round.options);
}

/** Reads the domain again, after something was done to it. */
export async function readAgain(round: Round): Promise<void> {
  if (round.view !== undefined) round.view = await readDomain(round.view.domain, round.options);
}

/** Asks for the next look after no more than so many milliseconds. */
export function lookAgain(round: Round, afterMs: number): void {
  round.requeueAfterMs = Math.min(round.requeueAfterMs ?? Infinity, afterMs);
}

/** Records a Kubernetes Event on the machine. */
export function tellEvent(
  { parts, status }: Round,
  type: 'Normal' | 'Warning',
  reason: string,
  action: string,
  note: string,
): void {
  parts.record({ regarding: status.machine, type, reason, action, note });
}

/** What went wrong, in the user's terms; empty when nothing did. */
export function messageOf(error: Error | undefined): string {
  if (error === undefined) return '';
  return error instanceof InvalidInputError && error.problems.length > 0
    ? error.problems.map(formatProblem).join('; ')
    : error.message;
}
