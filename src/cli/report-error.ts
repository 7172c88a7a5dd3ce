import { causeChain, formatProblem, InvalidInputError, toError, VirtctlError } from '../base/errors.ts';
import { ExitCode } from '../base/exit-code.ts';
import { ReportedFailure } from './reported-failure.ts';

/** What the process says and ends with after an error. */
export interface ErrorReport {
  /** For stderr, with its line break; empty when all was said before. */
  readonly text: string;
  readonly exitCode: ExitCode;
}

/**
 * One line that says what failed, why, and what to do next (of an invalid input one line for each problem); with
 * `verbose` the chain of causes and, for an error that is not ours, its stack.
 */
export function reportError(thrown: unknown, verbose: boolean): ErrorReport {
  const error = toError(thrown);
  if (error instanceof ReportedFailure) return { text: '', exitCode: error.exitCode };
  const known = error instanceof VirtctlError;
  const causes = causeChain(error);
  const lines =
    error instanceof InvalidInputError && error.problems.length > 0
      ? error.problems.map((problem) => `error: ${formatProblem(problem)}`)
      : [`error: ${error.message}${causes.length > 1 ? `: ${causes[1] ?? ''}` : ''}`];
  if (known && error.hint !== undefined) lines.push(`hint: ${error.hint}`);
  if (verbose) {
    for (const cause of causes.slice(error instanceof InvalidInputError ? 1 : 2)) lines.push(`  caused by: ${cause}`);
    if (!known && error.stack !== undefined) lines.push(error.stack);
  }
  return { text: `${lines.join('\n')}\n`, exitCode: known ? error.exitCode : ExitCode.Failed };
}
