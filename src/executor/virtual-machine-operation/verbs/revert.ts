import { stepRevert } from '../../virtual-machine-snapshot/revert-snapshot.ts';
import { OperationFailedError } from '../operation-run.ts';
import type { Verb } from '../verb.ts';

/** Revert: back to a VirtualMachineSnapshot; its steps stand at the head of virtual-machine-snapshot/revert-snapshot.ts. */
export const revert: Verb = {
  firstStep: 'Preparing',
  check: ({ operation, context }) => {
    const { runStrategy = 'Always' } = context.status.machine.spec;
    const { powerState } = operation.spec.revert ?? {};
    if (powerState === 'Stopped' && runStrategy === 'Always') {
      throw new OperationFailedError(
        'RunStrategyForbids',
        'spec.runStrategy is Always, which would start it again at once: set it to Halted first',
      );
    }
    if (runStrategy === 'Halted' && (powerState === 'Running' || powerState === 'Paused')) {
      throw new OperationFailedError(
        'RunStrategyForbids',
        'spec.runStrategy is Halted, which would stop it again at once: set it to Always first',
      );
    }
  },
  step: (run) => stepRevert(run, run.context.revert),
};
