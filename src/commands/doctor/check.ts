import { causeChain, ForbiddenError, VirtctlError } from '../../base/errors.ts';
import { withDeadline } from '../../base/abort.ts';

/** What a check found. */
export interface Finding {
  /** ok; warn: works, but something is not as it should be; fail: machines cannot run; skip: cannot be told. */
  readonly status: 'ok' | 'warn' | 'fail' | 'skip';
  /** One line. */
  readonly message: string;
  /** What to do, one line; with warn and fail, and where a skip can be helped. */
  readonly fix?: string;
}

/** One thing that doctor looks at. */
export interface Check {
  readonly name: string;
  /** What to do where it throws an error that says no more. */
  readonly fix: string;
  readonly run: (signal: AbortSignal) => Promise<Finding>;
}

/** No check takes longer. */
const checkTimeoutMs = 45_000;

/** Runs a check; an error that it throws is a finding too: what cannot be told for want of rights is passed over. */
export async function runCheck(check: Check, signal: AbortSignal): Promise<Finding> {
  try {
    return await withDeadline(check.name, checkTimeoutMs, signal, check.run);
  } catch (error) {
    signal.throwIfAborted();
    const message = oneLine(distinct(causeChain(error)).join(': '));
    if (error instanceof ForbiddenError) {
      // Nothing was seen of what is looked at, good or bad.
      const fix = error.hint ?? 'let a user with more rights look; kubectl auth can-i --list shows those of this one';
      return { status: 'skip', message, fix };
    }
    const fix = (error instanceof VirtctlError ? error.hint : undefined) ?? check.fix;
    return { status: 'fail', message, fix };
  }
}

/** The messages that say something which none before them said. */
function distinct(messages: readonly string[]): readonly string[] {
  return messages.filter((message, index) => !messages.slice(0, index).some((before) => before.includes(message)));
}

/** A text without line breaks. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ').trim();
}
