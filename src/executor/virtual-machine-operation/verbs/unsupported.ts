import { OperationFailedError, type OperationRun } from '../operation-run.ts';
import type { Verb } from '../verb.ts';

/** A verb of the API that this executor does not do. */
export const unsupported: Verb = {
  firstStep: 'Unsupported',
  check: refuse,
  step: (run) => Promise.resolve(refuse(run)),
};

function refuse({ operation }: OperationRun): never {
  throw new OperationFailedError('Unsupported', `the verb ${operation.spec.verb} is not done by this executor`);
}
