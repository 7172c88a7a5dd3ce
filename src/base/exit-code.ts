/** What a process of virtctl ends with. Stable: scripts rely on it (docs/scripting.md). */
export const ExitCode = {
  /** Everything asked for was done. */
  Done: 0,
  /** It failed for a reason that has no code of its own. */
  Failed: 1,
  /** The command line was wrong. */
  Usage: 2,
  /** A named object does not exist. */
  NotFound: 3,
  /** The object exists already, or somebody else changed it meanwhile. */
  Conflict: 4,
  /** A deadline ran out. */
  TimedOut: 5,
  /** The API server or libvirt cannot be reached. */
  Unreachable: 6,
  /** The API server or libvirt refused it for want of rights. */
  Forbidden: 7,
  /** The input (a file, a field's value) is not valid. */
  InvalidInput: 8,
} as const;

/** One of {@link ExitCode}'s numbers. */
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];
