/**
 * A machine that is off, and whose lost status said why it stays so: it had its run (Once, RerunOnFailure), or it is saved
 * until it is asked for. Until its status says so again it must not have its run strategy, else an executor that is quick
 * starts it: it is made as Manual, with its strategy in an annotation by which an interrupted recovery is ended.
 */
import type { DomainView } from '../virtual-machine/domain-view.ts';
import { runStrategies, type RunStrategy, type VirtualMachine } from '../../api/virtual-machine.ts';

/** The run strategy that a machine is to have once its status says that it had its run. */
export const recoveredAnnotation = 'virtctl.dev/recovered-run-strategy';

/**
 * What the status of a machine has to say before it has its run strategy.
 *
 * @param runStrategy The one that it is to have.
 * @returns undefined where nothing would start it, or it is not off.
 */
export function settledStatus(runStrategy: RunStrategy, view: DomainView): object | undefined {
  if (view.state !== 'off') return undefined;
  const hadItsRun = runStrategy === 'Once' || runStrategy === 'RerunOnFailure';
  if (!hadItsRun && !(view.hasManagedSave && runStrategy === 'Always')) return undefined;
  const power = { startedFor: runStrategy, ...(view.hasManagedSave ? { held: true } : {}) };
  const { reason } = view.libvirtState;
  const word = reason === 'crashed' ? 'Crashed' : reason === 'failed' ? 'Failed' : 'Shutdown';
  return { power, lastStop: { reason: word } };
}

/** A machine as it is made: Manual neither starts nor stops it, nor forgets what it was started for. */
export function unsettled(machine: VirtualMachine): VirtualMachine {
  const { metadata, spec } = machine;
  const annotations = { ...metadata.annotations, [recoveredAnnotation]: spec.runStrategy ?? 'Always' };
  return { ...machine, metadata: { ...metadata, annotations }, spec: { ...spec, runStrategy: 'Manual' } };
}

/** The run strategy that a machine waits for; undefined when it waits for none, or somebody gave it another one. */
export function awaitedStrategy({ metadata, spec }: VirtualMachine): RunStrategy | undefined {
  const kept = metadata.annotations?.[recoveredAnnotation];
  return spec.runStrategy === 'Manual' ? runStrategies.find((one) => one === kept) : undefined;
}
