import { OperationFailedError, type OperationRun, type StepProgress } from './operation-run.ts';
import { NotReadyError } from '../virtual-machine/not-ready-error.ts';

/** How one verb is done; the files of verbs/ each have one, and verbs.ts lists them. */
export interface Verb {
  /** The name of its first step. */
  readonly firstStep: string;
  /** It looks at deadlines by itself: what it began must be taken back before it ends. */
  readonly endsItself?: boolean;
  /**
   * Looks whether it can be done, before its first step is written.
   *
   * @throws OperationFailedError when it cannot.
   */
  readonly check?: (run: OperationRun) => void | Promise<void>;
  /** Does the step that status names (`run.step`); at most four follow each other. Doing one again must be harmless. */
  readonly step: (run: OperationRun) => Promise<StepProgress>;
}

/** For verbs that need a running or paused guest. */
export function needsGuest({ state }: OperationRun): void {
  if (state === 'off' || state === 'crashed') {
    throw new OperationFailedError('NotRunning', 'the machine is not running');
  }
}

/** For verbs that need a guest whose processors run. */
export function needsAwakeGuest(run: OperationRun): void {
  needsGuest(run);
  if (run.state === 'paused') throw new OperationFailedError('NotRunning', 'the machine is paused');
}

/** For verbs that end with a running machine. */
export function forbidsHalted({ context }: OperationRun): void {
  if (context.status.machine.spec.runStrategy === 'Halted') {
    throw new OperationFailedError(
      'RunStrategyForbids',
      'spec.runStrategy is Halted, which would stop it again at once: set it to Always instead',
    );
  }
}

/**
 * For verbs that start the machine: what the run strategy waits for, as a disk that another machine has open or whose saved
 * memory expects it as it is, holds for an operation too.
 */
export function needsReady({ context: { notReady } }: OperationRun): void {
  if (notReady instanceof NotReadyError) throw new OperationFailedError('LibvirtError', notReady.message);
}
