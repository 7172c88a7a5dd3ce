/**
 * How the commands that change a machine's spec run (`set`, `attach`, `detach`, `change-media`): read it, change a copy,
 * write that back unless somebody else was quicker, wait until the executor has seen it, and tell what waits for the
 * next start.
 */
import type { Command } from 'commander';
import { Option } from 'commander';
import { addBooleanFlag } from './boolean-flags.ts';
import type { Context } from './context.ts';
import { parseDuration } from './duration.ts';
import type { KubeFlags } from './kube-options.ts';
import { addKubeOptions, withKubeClient } from './kube-options.ts';
import { resourceTypeOf } from './machine-verb.ts';
import { waitForObject } from './wait-for-object.ts';
import { virtualMachineKind } from '../api/kinds.ts';
import { findCondition, group } from '../api/meta.ts';
import {
  virtualMachineReasons,
  type FieldChange,
  type VirtualMachine,
  type VirtualMachineSpec,
} from '../api/virtual-machine.ts';
import { FailedError, NotFoundError, TimedOutError } from '../base/errors.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isConflict } from '../kube/status-error.ts';

/** The flags of a command that changes a spec. */
export interface EditFlags extends KubeFlags {
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout: number;
}

/** A spec that may be changed, all the way down. */
export type MutableSpec = Mutable<VirtualMachineSpec>;

type Mutable<T> = T extends readonly (infer Item)[]
  ? Mutable<Item>[]
  : T extends object
    ? { -readonly [Key in keyof T]: Mutable<T[Key]> }
    : T;

const maxConflicts = 20;

/**
 * Changes one machine.
 *
 * @param name `web` or `vm/web`.
 * @param done What is printed after its name, as `changed`.
 * @param change Changes the spec in place; throws when it cannot be. Called again when somebody else wrote meanwhile.
 */
export async function editMachine(
  context: Context,
  name: string,
  flags: EditFlags,
  done: string,
  change: (spec: MutableSpec, machine: VirtualMachine) => void,
): Promise<void> {
  await withKubeClient(context, flags, async (client) => {
    const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    const ref = { namespace: client.namespace, name: name.replace(/^[^/]+\//, '') };
    const { before, after } = await writeSpec(machines, ref, change, context.signal);
    const path = `virtualmachine.${group}/${ref.name}`;
    if (after.metadata.resourceVersion === before.metadata.resourceVersion) {
      context.stdout.write(`${path} unchanged\n`);
      return;
    }
    if (flags.wait && (after.spec.nodeName ?? '') !== '') {
      const generation = after.metadata.generation ?? 0;
      const isThere = (now: VirtualMachine | undefined): boolean => synchronised(now, generation, ref.name);
      const seen = await waitForObject(machines, ref, isThere, {
        signal: context.signal,
        timeoutMs: flags.timeout,
        uid: after.metadata.uid,
        what: `the executor of node ${after.spec.nodeName ?? ''} to take up the change of vm/${ref.name}`,
      }).catch((error: unknown) => {
        if (!(error instanceof TimedOutError)) throw error;
        throw new TimedOutError(error.message, { hint: `virtctl why vm/${ref.name}` });
      });
      for (const field of seen?.status?.restartRequired ?? []) {
        context.stderr.write(`warning: takes effect at the next start: ${describeChange(field)}\n`);
      }
    }
    context.stdout.write(`${path} ${done}\n`);
  });
}

async function writeSpec(
  machines: ResourceClient<VirtualMachine>,
  ref: { readonly namespace: string; readonly name: string },
  change: (spec: MutableSpec, machine: VirtualMachine) => void,
  signal: AbortSignal,
): Promise<{ readonly before: VirtualMachine; readonly after: VirtualMachine }> {
  for (let conflicts = 0; ; conflicts += 1) {
    const before = await machines.get(ref, { signal });
    const spec = structuredClone(before.spec) as MutableSpec;
    change(spec, before);
    try {
      // A whole update with its resourceVersion: a list must not be replaced by one that somebody has changed meanwhile.
      return { before, after: await machines.update({ ...before, spec }, { signal }) };
    } catch (error) {
      if (!isConflict(error) || conflicts >= maxConflicts) throw error;
    }
  }
}

/** Whether the executor has dealt with this generation; throws with libvirt's words when it could not. */
function synchronised(machine: VirtualMachine | undefined, generation: number, name: string): boolean {
  if (machine === undefined) throw new NotFoundError('the machine was deleted meanwhile');
  if ((machine.status?.observedGeneration ?? -1) < generation) return false;
  for (const type of ['Synchronized', 'Degraded']) {
    const condition = findCondition(machine.status, type);
    const bad = type === 'Synchronized' ? 'False' : 'True';
    if (condition?.status !== bad || condition.reason === 'Drifted') continue;
    if ((condition.observedGeneration ?? generation) < generation) continue;
    // The guest is about it; the executor says so when it gives up.
    if (condition.reason === virtualMachineReasons.LiveChangePending) return false;
    // A disk that is being made, or that another machine gives back.
    if (condition.reason === virtualMachineReasons.VolumeNotReady) return false;
    const words = `vm/${name} was changed, but not everything is so: ${condition.reason ?? type}: ${condition.message ?? ''}`;
    throw new FailedError(words, { hint: hints[condition.reason ?? '']?.(name) ?? `virtctl describe vm ${name}` });
  }
  return true;
}

/** What to do about a reason, by the reason. */
const hints: Readonly<Partial<Record<string, (name: string) => string>>> = {
  [virtualMachineReasons.LiveChangeFailed]: (name) =>
    `it is tried again, at the latest at the next start; virtctl edit vm ${name} takes it back`,
};

function describeChange({ path, from = 'none', to = 'none', message }: FieldChange): string {
  return `${path}: ${from} → ${to}${message === undefined ? '' : ` (${message})`}`;
}

/** Adds `--wait`, `--timeout` and the server's flags. */
export function addEditOptions(command: Command): void {
  addBooleanFlag(command, 'wait', "wait until the machine's node has taken it up", true);
  command.addOption(
    new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(120_000, '2m'),
  );
  addKubeOptions(command);
}
