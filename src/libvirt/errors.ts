import { ExitCode } from '../base/exit-code.ts';
import { UnreachableError, VirtctlError, type VirtctlErrorOptions } from '../base/errors.ts';
import { ErrorDomain, ErrorNumber as ErrorCode } from './constants.gen.ts';

/** What libvirt says about a failure (virError of virterror.h). */
export interface LibvirtErrorDetails {
  /** virErrorNumber, as {@link ErrorCode}. */
  readonly code: number;
  /** virErrorDomain: the part of libvirt that failed. */
  readonly domain: number;
  /** virErrorLevel: 1 warning, 2 error. */
  readonly level: number;
  readonly message: string;
  readonly str1: string | null;
  readonly str2: string | null;
  readonly str3: string | null;
  readonly int1: number;
  readonly int2: number;
}

const codeNames = new Map<number, string>(Object.entries(ErrorCode).map(([name, number]) => [number, name]));
const domainNames = new Map<number, string>(Object.entries(ErrorDomain).map(([name, number]) => [number, name]));

const notFoundCodes: readonly number[] = [
  ErrorCode.NO_DOMAIN,
  ErrorCode.NO_NETWORK,
  ErrorCode.NO_STORAGE_POOL,
  ErrorCode.NO_STORAGE_VOL,
  ErrorCode.NO_NODE_DEVICE,
  ErrorCode.NO_INTERFACE,
  ErrorCode.NO_NWFILTER,
  ErrorCode.NO_NWFILTER_BINDING,
  ErrorCode.NO_SECRET,
  ErrorCode.NO_DOMAIN_SNAPSHOT,
  ErrorCode.NO_DOMAIN_CHECKPOINT,
  ErrorCode.NO_DOMAIN_BACKUP,
  ErrorCode.NO_DOMAIN_METADATA,
  ErrorCode.NO_NETWORK_METADATA,
  ErrorCode.NO_NETWORK_PORT,
  ErrorCode.DEVICE_MISSING,
];
const existsCodes: readonly number[] = [
  ErrorCode.DOM_EXIST,
  ErrorCode.NETWORK_EXIST,
  ErrorCode.STORAGE_VOL_EXIST,
  ErrorCode.NETWORK_PORT_EXIST,
];
/** Defining another domain under a known name has no code of its own. */
const saysExists = /already exists/;
const deniedCodes: readonly number[] = [
  ErrorCode.ACCESS_DENIED,
  ErrorCode.AUTH_FAILED,
  ErrorCode.AUTH_CANCELLED,
  ErrorCode.AUTH_UNAVAILABLE,
  ErrorCode.OPERATION_DENIED,
];
const unsupportedCodes: readonly number[] = [
  ErrorCode.NO_SUPPORT,
  ErrorCode.OPERATION_UNSUPPORTED,
  ErrorCode.CONFIG_UNSUPPORTED,
  ErrorCode.ARGUMENT_UNSUPPORTED,
];
const timeoutCodes: readonly number[] = [ErrorCode.OPERATION_TIMEOUT, ErrorCode.AGENT_COMMAND_TIMEOUT];

function exitCodeOf(code: number, message: string): ExitCode {
  if (notFoundCodes.includes(code)) return ExitCode.NotFound;
  if (existsCodes.includes(code) || (code === ErrorCode.OPERATION_FAILED && saysExists.test(message)))
    return ExitCode.Conflict;
  if (deniedCodes.includes(code)) return ExitCode.Forbidden;
  if (timeoutCodes.includes(code)) return ExitCode.TimedOut;
  return ExitCode.Failed;
}

/**
 * libvirt answered with an error: the call is over and its outcome known. `code` is `VIR_ERR_…` as a word
 * (`NO_DOMAIN`), `number` the number; the message is libvirt's own.
 */
export class LibvirtError extends VirtctlError {
  override readonly code: string;
  override readonly exitCode: ExitCode;
  /** virErrorNumber, as {@link ErrorCode}. */
  readonly number: number;
  /** virErrorDomain, as {@link ErrorDomain}. */
  readonly domain: number;
  /** virErrorLevel: 1 warning, 2 error. */
  readonly level: number;
  readonly str1: string | null;
  readonly str2: string | null;
  readonly str3: string | null;
  readonly int1: number;
  readonly int2: number;
  /** The procedure that failed, as `domainCreate`. */
  readonly procedure: string;

  constructor(procedure: string, details: LibvirtErrorDetails, options: VirtctlErrorOptions = {}) {
    // Where it cites a program, it ends with that program's line break.
    super(details.message.trimEnd(), options);
    this.procedure = procedure;
    this.number = details.code;
    this.code = codeNames.get(details.code) ?? `LIBVIRT_${details.code}`;
    this.exitCode = exitCodeOf(details.code, details.message);
    this.domain = details.domain;
    this.level = details.level;
    this.str1 = details.str1;
    this.str2 = details.str2;
    this.str3 = details.str3;
    this.int1 = details.int1;
    this.int2 = details.int2;
  }

  /** The name of {@link domain}, as `QEMU`; its number where it has none. */
  get domainName(): string {
    return domainNames.get(this.domain) ?? String(this.domain);
  }
}

const has = (error: unknown, codes: readonly number[]): error is LibvirtError =>
  error instanceof LibvirtError && codes.includes(error.number);

/** The domain, network, pool, volume, snapshot… does not exist. */
export const isNotFound = (error: unknown): error is LibvirtError => has(error, notFoundCodes);

/** The domain does not exist; it may have a moment ago. */
export const isDomainMissing = (error: unknown): error is LibvirtError => has(error, [ErrorCode.NO_DOMAIN]);

/** An object of that name or UUID exists already. */
export const isAlreadyExists = (error: unknown): error is LibvirtError =>
  has(error, existsCodes) || (has(error, [ErrorCode.OPERATION_FAILED]) && saysExists.test(error.message));

/** Refused for want of rights, or authentication failed. */
export const isDenied = (error: unknown): error is LibvirtError => has(error, deniedCodes);

/** The object's state forbids the operation: starting what runs, stopping what does not. */
export const isInvalidState = (error: unknown): error is LibvirtError => has(error, [ErrorCode.OPERATION_INVALID]);

/** A start of what runs already (domain, network or pool). */
export const isAlreadyRunning = (error: unknown): error is LibvirtError =>
  has(error, [ErrorCode.OPERATION_INVALID]) && /already (running|active)/.test(error.message);

/** A stop, or another operation that needs it running, of what does not run. */
export const isNotRunning = (error: unknown): error is LibvirtError =>
  has(error, [ErrorCode.OPERATION_INVALID]) && /not (running|active)/.test(error.message);

/** libvirtd, its driver or its version does not know the procedure or the feature. */
export const isUnsupported = (error: unknown): error is LibvirtError =>
  has(error, unsupportedCodes) || (has(error, [ErrorCode.RPC]) && /unknown procedure/i.test(error.message));

/** The guest agent does not answer, or is not there. */
export const isAgentUnavailable = (error: unknown): error is LibvirtError =>
  has(error, [ErrorCode.AGENT_UNRESPONSIVE, ErrorCode.AGENT_UNSYNCED, ErrorCode.AGENT_COMMAND_TIMEOUT]) ||
  (has(error, [ErrorCode.ARGUMENT_UNSUPPORTED]) && /agent/.test(error.message));

/** libvirt gave up waiting (for a lock, a monitor, an agent). The operation may still take effect. */
export const isLibvirtTimeout = (error: unknown): error is LibvirtError => has(error, timeoutCodes);

/** Another long job runs on the domain (a migration, a snapshot, a backup). */
export const isBusy = (error: unknown): error is LibvirtError =>
  has(error, [ErrorCode.RESOURCE_BUSY, ErrorCode.OPERATION_TIMEOUT]);

/** Why an outcome is unknown: the deadline, the caller's signal, a lost connection, or our own close. */
export type UnknownReason = 'timeout' | 'aborted' | 'lost' | 'closed';

/**
 * A call was sent and no answer came: libvirt may have done it, may be doing it, or may never do it. Look again
 * before repeating. `cause` is the lost connection's error or the signal's reason.
 */
export class OutcomeUnknownError extends VirtctlError {
  override readonly code = 'OutcomeUnknown';
  override readonly exitCode: ExitCode;
  readonly procedure: string;
  readonly reason: UnknownReason;

  constructor(procedure: string, reason: UnknownReason, message: string, options: VirtctlErrorOptions = {}) {
    super(message, options);
    this.procedure = procedure;
    this.reason = reason;
    this.exitCode =
      reason === 'timeout' ? ExitCode.TimedOut : reason === 'aborted' ? ExitCode.Failed : ExitCode.Unreachable;
  }
}

/** The connection cannot be made, is lost, or is closed. A call that fails so was never sent. */
export class ConnectionError extends UnreachableError {
  override readonly code: string = 'LibvirtUnreachable';
}

/** The peer does not speak libvirt's protocol: a frame or a value that cannot be. The connection ends with it. */
export class ProtocolError extends ConnectionError {
  override readonly code = 'LibvirtProtocol';
}

/** An argument cannot be put on the wire: out of range, over the protocol's limit, of another type. */
export class EncodeError extends VirtctlError {
  override readonly code = 'Invalid';
  override readonly exitCode = ExitCode.InvalidInput;
}

/** The daemon asks for an authentication that this client does not have, or that failed. */
export class AuthenticationError extends VirtctlError {
  override readonly code = 'Forbidden';
  override readonly exitCode = ExitCode.Forbidden;
}
