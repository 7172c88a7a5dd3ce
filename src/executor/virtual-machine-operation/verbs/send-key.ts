import { keyCodes } from '../key-codes.ts';
import { OperationFailedError, type OperationRun } from '../operation-run.ts';
import { needsGuest, type Verb } from '../verb.ts';

/** SendKey: cannot be repeated or seen, so when it is unknown whether keys were sent, it fails and says so. */
export const sendKey: Verb = { firstStep: 'Sending', check: needsGuest, step: send };

async function send(run: OperationRun): Promise<'over'> {
  if (run.isRepeat) {
    throw new OperationFailedError('OutcomeUnknown', 'cut off: it is not known whether the keys were sent');
  }
  const { keys = [], codeSet = 'linux', holdMilliseconds = 100 } = run.operation.spec.sendKey ?? {};
  const codes = keyCodes(keys, codeSet);
  if (typeof codes === 'string') throw new OperationFailedError('Unsupported', codes);
  await run.act(({ domain }, options) =>
    domain.sendKey(codes, { codeset: codeSet, holdMs: holdMilliseconds, ...options }),
  );
  return run.done('the keys were sent');
}
