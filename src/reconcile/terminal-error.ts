import { FailedError } from '../base/errors.ts';

/** Trying again cannot help until somebody changes the object: reported, and not retried. */
export class TerminalError extends FailedError {
  override readonly code: string = 'Terminal';
}
