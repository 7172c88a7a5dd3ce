import { ExitCode } from '../base/exit-code.ts';
import { InvalidInputError, VirtctlError } from '../base/errors.ts';

/** Ends the process with a code after everything about the failure has been printed already. */
export class ReportedFailure extends VirtctlError {
  override readonly code = 'Reported';
  override readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode) {
    super('failed, as reported above');
    this.exitCode = exitCode;
  }
}

/** The exit code for several failures in one call: invalid input if there was any, else that of the first. */
export function exitCodeOf(errors: readonly unknown[]): ExitCode {
  if (errors.some((error) => error instanceof InvalidInputError)) return ExitCode.InvalidInput;
  const [first] = errors;
  if (first === undefined) return ExitCode.Done;
  return first instanceof VirtctlError ? first.exitCode : ExitCode.Failed;
}
