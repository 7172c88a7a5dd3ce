/**
 * What the executor keeps of each machine in memory: names and sizes, not specs. Five hundred machines must not take more
 * than a few megabytes; a reconcile reads the whole object anyway.
 */
import { createHash } from 'node:crypto';
import { disksOfMachineSpec } from '../api/empty-disk.ts';
import { machineUuid } from '../api/machine-uuid.ts';
import { findCondition } from '../api/meta.ts';
import {
  domainName,
  virtualMachineConditions,
  virtualMachineReasons,
  type VirtualMachine,
} from '../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import type { KubeObject, ObjectMeta } from '../kube/object.ts';
import { isAskedOf } from './migration/migration-notes.ts';
import { macOf } from './virtual-machine/interfaces.ts';
import { markedMetadata } from './virtual-machine/marked-metadata.ts';
import { bytesOf, memberAt, type DataObject } from './virtual-machine/same-value.ts';
import type { Plug } from './virtual-network/reservations.ts';

/** A machine as the cache has it. */
export interface SlimMachine extends KubeObject {
  readonly spec: {
    readonly nodeName: string;
    readonly domain: string;
    /** The UUID that its domain has or is to have. */
    readonly uuid: string;
    readonly cpus: number;
    readonly memoryBytes: number;
    /** What its volumes and interfaces name, as `VirtualDisk/root`. */
    readonly references: readonly string[];
    /** Its interfaces in VirtualNetworks, each with the network's name. */
    readonly plugs: readonly (Plug & { readonly network: string })[];
    /** Differs when anything of the spec does, or of what else the domain's mark keeps. */
    readonly digest: string;
    /** Whether its status says that its node is lost: only its executor knows better. */
    readonly lost: boolean;
    /** The node that its source asks whether the guest is there, its migration's operation being gone; else empty. */
    readonly asks: string;
  };
}

/** An operation as the cache has it. */
export interface SlimOperation extends KubeObject {
  readonly spec: {
    readonly virtualMachine: string;
    readonly ttlSeconds: number;
    /** The nodes that a migration is between, as far as they are known. */
    readonly nodes: readonly string[];
  };
  readonly status: { readonly phase: string; readonly completionTime: string | undefined };
}

/** Seconds after which a finished operation is deleted, when it does not say. */
const defaultTtlSeconds = 3600;

function slimMetadata(metadata: ObjectMeta): ObjectMeta {
  const { name, namespace, uid, resourceVersion, generation, deletionTimestamp, creationTimestamp } = metadata;
  return { name, namespace, uid, resourceVersion, generation, deletionTimestamp, creationTimestamp };
}

/** What is kept of a machine. */
export function slimMachine(object: KubeObject): SlimMachine {
  const machine = object as VirtualMachine;
  const spec = machine.spec;
  const domain = (spec.domain ?? {}) as DataObject;
  const references = [
    ...disksOfMachineSpec(machine).map((name) => `VirtualDisk/${name}`),
    ...(spec.volumes ?? []).flatMap(({ virtualImage }) =>
      virtualImage === undefined ? [] : [`VirtualImage/${virtualImage}`],
    ),
    ...(spec.interfaces ?? []).flatMap(({ virtualNetwork }) =>
      virtualNetwork === undefined ? [] : [`VirtualNetwork/${virtualNetwork}`],
    ),
  ];
  const memory = memberAt(domain, 'memory');
  const { migration } = machine.status ?? {};
  return {
    apiVersion: machine.apiVersion,
    kind: machine.kind,
    metadata: slimMetadata(machine.metadata),
    spec: {
      nodeName: spec.nodeName ?? '',
      domain: domainName(machine),
      uuid: machineUuid(machine),
      cpus: Number(memberAt(domain, 'vcpu', 'value') ?? 1) || 1,
      memoryBytes: Number(bytesOf(memberAt(memory, 'value'), memberAt(memory, 'unit'), 'KiB') ?? 1024n ** 3n),
      references,
      plugs: (spec.interfaces ?? []).flatMap((entry) =>
        entry.virtualNetwork === undefined
          ? []
          : [
              {
                network: entry.virtualNetwork,
                interface: entry.name,
                mac: macOf(entry, machineUuid(machine)),
                ip: entry.ip,
              },
            ],
      ),
      digest: createHash('sha256')
        .update(JSON.stringify([spec, markedMetadata(machine)]))
        .digest('base64')
        .slice(0, 12),
      lost: findCondition(machine.status, virtualMachineConditions.Ready)?.reason === virtualMachineReasons.NodeLost,
      asks: isAskedOf(migration, migration?.targetNode ?? '') ? (migration?.targetNode ?? '') : '',
    },
  };
}

/** Whether it is the machine that a domain was made for: one that was made anew under its name is another. */
export function isOwnerOf(
  { metadata, spec }: SlimMachine,
  { uid, domainUuid }: { readonly uid: string; readonly domainUuid: string },
): boolean {
  return metadata.uid === uid || spec.uuid === domainUuid;
}

/** What is kept of an operation. */
export function slimOperation(object: KubeObject): SlimOperation {
  const { apiVersion, kind, metadata, spec, status } = object as VirtualMachineOperation;
  return {
    apiVersion,
    kind,
    metadata: slimMetadata(metadata),
    spec: {
      virtualMachine: spec.virtualMachine,
      ttlSeconds: spec.ttlSecondsAfterFinished ?? defaultTtlSeconds,
      nodes:
        spec.verb === 'Migrate'
          ? [status?.context?.['source'], status?.context?.['target']].filter((node) => node !== undefined)
          : [],
    },
    status: { phase: status?.phase ?? 'Pending', completionTime: status?.completionTime },
  };
}

/** Whether an operation is over. */
export function isFinished({ status }: SlimOperation): boolean {
  return status.phase === 'Succeeded' || status.phase === 'Failed';
}

/**
 * The names of those that are not over: what is being done first, then the oldest; of the same second by name, so that every
 * executor agrees.
 */
export function openOperations(operations: readonly SlimOperation[]): string[] {
  const rank = ({ status, metadata }: SlimOperation): string =>
    [status.phase === 'Running' ? '0' : '1', metadata.creationTimestamp ?? '', metadata.name ?? ''].join(' ');
  return operations
    .filter((operation) => !isFinished(operation))
    .sort((a, b) => (rank(a) < rank(b) ? -1 : 1))
    .map(({ metadata }) => metadata.name ?? '');
}
