import { causeChain, toError, VirtctlError } from '../base/errors.ts';
import { ExitCode } from '../base/exit-code.ts';

/** What the process says and ends with after an error. */
export interface ErrorReport {
  /** For stderr, with its line break. */
  readonly text: string;
  readonly exitCode: ExitCode;
}

/**
 * One line that says what failed, why, and what to do next; with `verbose` the chain of causes and, for an error that
 * is not ours, its stack.
 */
export function reportError(thrown: unknown, verbose: boolean): ErrorReport {
  const error = toError(thrown);
  const known = error instanceof VirtctlError;
  const causes = causeChain(error);
  const why = causes.length > 1 ? `: ${causes[1] ?? ''}` : '';
  const lines = [`error: ${error.message}${why}`];
  if (known && error.hint !== undefined) lines.push(`hint: ${error.hint}`);
  if (verbose) {
    for (const cause of causes.slice(2)) lines.push(`  caused by: ${cause}`);
    if (!known && error.stack !== undefined) lines.push(error.stack);
  }
  return { text: `${lines.join('\n')}\n`, exitCode: known ? error.exitCode : ExitCode.Failed };
}
