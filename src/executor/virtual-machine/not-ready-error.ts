import { FailedError, type VirtctlErrorOptions } from '../../base/errors.ts';
import type { PrintableStatus, virtualMachineReasons } from '../../api/virtual-machine.ts';

/**
 * Something that a machine needs is not there yet, or refused. Not a failure of ours: it is told in the condition Ready,
 * and looked at again.
 */
export class NotReadyError extends FailedError {
  override readonly code: string;
  /** The reason of the condition Ready. */
  readonly reason: keyof typeof virtualMachineReasons;
  /** status.printableStatus meanwhile. */
  readonly printableStatus: PrintableStatus;

  constructor(
    reason: keyof typeof virtualMachineReasons,
    printableStatus: PrintableStatus,
    message: string,
    options: VirtctlErrorOptions = {},
  ) {
    super(message, options);
    this.code = reason;
    this.reason = reason;
    this.printableStatus = printableStatus;
  }
}
