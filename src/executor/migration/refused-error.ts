import { FailedError } from '../../base/errors.ts';

/** The target refuses a machine; the message goes to the operation. */
export class RefusedError extends FailedError {}
