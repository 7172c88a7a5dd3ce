import { ExitCode } from './exit-code.ts';

/** Options of {@link VirtctlError}. */
export interface VirtctlErrorOptions extends ErrorOptions {
  /** What the user can do next, one sentence without a full stop. */
  readonly hint?: string | undefined;
}

/**
 * The root of every error that virtctl raises on purpose. `code` is a stable word for programs, `exitCode` what the
 * process ends with when nobody handles it. A message is in the user's terms and does not repeat its cause's.
 */
export abstract class VirtctlError extends Error {
  /** A stable word for programs, in PascalCase as a Kubernetes reason. */
  abstract readonly code: string;
  /** The process's exit code when this error ends it. */
  abstract readonly exitCode: ExitCode;
  /** What the user can do next. */
  readonly hint: string | undefined;

  constructor(message: string, options: VirtctlErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = new.target.name;
    this.hint = options.hint;
  }
}

/** Failed for a reason without an exit code of its own. */
export class FailedError extends VirtctlError {
  override readonly code: string = 'Failed';
  override readonly exitCode = ExitCode.Failed;
}

/** The command line is wrong: an unknown flag, a missing argument, two flags that exclude each other. */
export class UsageError extends VirtctlError {
  override readonly code = 'Usage';
  override readonly exitCode = ExitCode.Usage;
}

/** A named object, file or domain does not exist. */
export class NotFoundError extends VirtctlError {
  override readonly code: string = 'NotFound';
  override readonly exitCode = ExitCode.NotFound;
}

/** The object exists already, or was changed meanwhile. */
export class ConflictError extends VirtctlError {
  override readonly code: string = 'Conflict';
  override readonly exitCode = ExitCode.Conflict;
}

/** A deadline ran out. What was asked for may still happen. */
export class TimedOutError extends VirtctlError {
  override readonly code: string = 'TimedOut';
  override readonly exitCode = ExitCode.TimedOut;
}

/** The API server or libvirt cannot be reached. */
export class UnreachableError extends VirtctlError {
  override readonly code: string = 'Unreachable';
  override readonly exitCode = ExitCode.Unreachable;
}

/** Refused for want of rights. */
export class ForbiddenError extends VirtctlError {
  override readonly code: string = 'Forbidden';
  override readonly exitCode = ExitCode.Forbidden;
}

/** One thing that is wrong with an input. */
export interface InputProblem {
  /** The file's name as the user gave it; `-` for standard input. */
  readonly file?: string | undefined;
  /** 1-based. */
  readonly line?: number | undefined;
  /** 1-based. */
  readonly column?: number | undefined;
  /** The field's path, as in `spec.domain.devices.disk[0].driver.cache`; empty for the whole document. */
  readonly path: string;
  /** What was expected, found, and the nearest known name if one is near. No line break. */
  readonly message: string;
}

/** Writes a problem as one line: `file:line:column: path: message`. */
export function formatProblem(problem: InputProblem): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(':');
  return [place, problem.path, problem.message].filter((part) => part !== '').join(': ');
}

/** An input is not valid; carries every problem found, not only the first. */
export class InvalidInputError extends VirtctlError {
  override readonly code: string = 'Invalid';
  override readonly exitCode = ExitCode.InvalidInput;
  readonly problems: readonly InputProblem[];

  constructor(problems: readonly InputProblem[], options: VirtctlErrorOptions = {}) {
    super(problems.map(formatProblem).join('\n'), options);
    this.problems = problems;
  }
}

/** What was thrown, as an Error: a thrown non-error is wrapped. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new FailedError(String(thrown));
}

/** The messages of an error and all its causes, outermost first (`--verbose`). Bounded at 16. */
export function causeChain(error: unknown): string[] {
  const chain: string[] = [];
  for (let at: unknown = error; at !== undefined && at !== null && chain.length < 16;) {
    const current = toError(at);
    chain.push(current.message);
    at = current.cause;
  }
  return chain;
}
