/** A row of docs/parity.md. */
export interface VirshRow {
  readonly verb: string;
  readonly changes: string;
  /** What stands in it as `virtctl …`. */
  readonly commands: readonly string[];
}

/** The rows of its tables. */
export function virshRows(text: string): VirshRow[] {
  return [...text.matchAll(/^\| `([a-z-]+)` +\| (\S+) +\| (.*) \|$/gm)].map(
    ([, verb = '', changes = '', here = '']) => ({
      verb,
      changes,
      commands: [...here.matchAll(/`(virtctl [^`]+)`/g)].map(([, command = '']) => command),
    }),
  );
}
