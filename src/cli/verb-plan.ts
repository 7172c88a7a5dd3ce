/**
 * What a lifecycle verb writes, as a pure function of the machine: the table in docs/executor.md. A verb changes
 * `spec.runStrategy` (a lasting wish), creates a VirtualMachineOperation (one verb, once), both, or nothing.
 */
import type { RunStrategy, VirtualMachine } from '../api/virtual-machine.ts';
import type { OperationVerb, VirtualMachineOperationSpec } from '../api/virtual-machine-operation.ts';

/** A verb of the command line, with its parameters. */
export type Verb =
  | { readonly verb: 'Start'; readonly paused: boolean }
  | { readonly verb: 'Stop' | 'Restart'; readonly force: boolean; readonly gracePeriodSeconds: number | undefined }
  | {
      readonly verb: Exclude<OperationVerb, 'Start' | 'Stop' | 'Restart'>;
      /** The verb's member of the operation's spec, as `{ sendKey: {…} }`; empty for verbs without parameters. */
      readonly parameters: Partial<VirtualMachineOperationSpec>;
    };

/** What is to be written. */
export interface VerbPlan {
  /** The new `spec.runStrategy`. */
  readonly runStrategy?: RunStrategy;
  /** The operation without `virtualMachine`. */
  readonly operation?: Omit<VirtualMachineOperationSpec, 'virtualMachine'>;
  /** Set when there is nothing to write: what the machine is already. */
  readonly already?: string;
}

/** The run strategy that counts when spec has none. */
export const defaultRunStrategy: RunStrategy = 'Always';

/** Decides what a verb writes for a machine. */
export function planVerb(machine: VirtualMachine, verb: Verb): VerbPlan {
  const strategy = machine.spec.runStrategy ?? defaultRunStrategy;
  switch (verb.verb) {
    case 'Start':
      return planStart(machine, strategy, verb.paused);
    case 'Stop':
      return planStop(strategy, verb.force, verb.gracePeriodSeconds);
    case 'Restart':
      return { operation: { verb: 'Restart', restart: stopping(verb.force, verb.gracePeriodSeconds) } };
    default:
      return { operation: { verb: verb.verb, ...verb.parameters } };
  }
}

function planStart(machine: VirtualMachine, strategy: RunStrategy, paused: boolean): VerbPlan {
  if (paused) {
    const operation = { verb: 'Start', start: { paused: true } } as const;
    // A lasting wish to run would unpause nothing, but would also start it again: Manual leaves it to the user.
    return strategy === 'Halted' ? { runStrategy: 'Manual', operation } : { operation };
  }
  if (strategy === 'Halted') return { runStrategy: 'Always' };
  const status = machine.status?.printableStatus;
  if (strategy === 'Always' && (status === 'Running' || status === 'Paused')) return { already: status.toLowerCase() };
  return { operation: { verb: 'Start' } };
}

function planStop(strategy: RunStrategy, force: boolean, gracePeriodSeconds: number | undefined): VerbPlan {
  const hurried = force || gracePeriodSeconds !== undefined;
  const operation = { verb: 'Stop', stop: stopping(force, gracePeriodSeconds) } as const;
  if (strategy === 'Manual' || strategy === 'Once') return { operation };
  if (strategy !== 'Halted') return hurried ? { runStrategy: 'Halted', operation } : { runStrategy: 'Halted' };
  return hurried ? { operation } : {};
}

function stopping(
  force: boolean,
  gracePeriodSeconds: number | undefined,
): { readonly force?: boolean; readonly gracePeriodSeconds?: number } {
  return {
    ...(force ? { force } : {}),
    ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
  };
}
