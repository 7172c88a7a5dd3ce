import type { Command } from 'commander';
import { Option } from 'commander';
import { UsageError } from '../../base/errors.ts';
import type { Context } from '../context.ts';
import type { KubeFlags } from '../kube-options.ts';
import { parseFieldSelector, parseLabelSelector } from '../label-selector.ts';
import { reportError } from '../report-error.ts';
import { exitCodeOf, ReportedFailure } from '../reported-failure.ts';

/** Flags that choose objects. */
export interface ChoiceFlags extends KubeFlags {
  readonly selector?: string;
  readonly fieldSelector?: string;
  readonly allNamespaces?: boolean;
  readonly filename?: readonly string[];
  readonly all?: boolean;
}

/** Adds `-l`, `--field-selector`, `-A` and `-f`. */
export function addChoiceOptions(command: Command): void {
  command
    .option('-l, --selector <labels>', 'only objects with these labels, as app=web,tier!=test', parseLabelSelector)
    .option('--field-selector <fields>', 'only objects with these fields, as metadata.name=web', parseFieldSelector)
    .option('-A, --all-namespaces', 'in every namespace');
  addFilenameOption(command, 'the objects that these files hold');
}

/** Adds `-f FILE|-|FOLDER`, which can be given several times. */
export function addFilenameOption(command: Command, description: string): void {
  command.addOption(
    new Option('-f, --filename <path>', `${description}: a file, a folder, or - for standard input`).argParser(
      (value: string, before: readonly string[] | undefined) => [...(before ?? []), value],
    ),
  );
}

/** What `--dry-run` can be. */
export type DryRun = 'none' | 'client' | 'server';

/** Adds `--dry-run`, with kubectl's words; alone it means `client`. */
export function addDryRunOption(command: Command): void {
  command.addOption(
    new Option('--dry-run [mode]', 'client: only print it; server: let the server check it, and store nothing')
      .choices(['none', 'client', 'server'])
      .preset('client')
      .default('none'),
  );
}

/** What stands after a result: which dry run it was. */
export function dryRunNote(mode: DryRun): string {
  if (mode === 'client') return ' (dry run)';
  return mode === 'server' ? ' (server dry run)' : '';
}

/**
 * Does something for each of many, prints every failure when it happens, and goes on.
 *
 * @throws ReportedFailure after the last, when any failed; the signal's reason when interrupted.
 */
export async function forEachReported<T>(
  context: Context,
  items: Iterable<T>,
  work: (item: T) => Promise<void>,
  before: readonly unknown[] = [],
): Promise<void> {
  const failures = [...before, ...(await reportEach(context, items, work))];
  if (failures.length > 0) throw new ReportedFailure(exitCodeOf(failures));
}

/**
 * Does the same for several things, one after the other; what fails is reported at once and stops none.
 *
 * @returns What failed, for {@link exitCodeOf}.
 */
export async function reportEach<T>(
  context: Context,
  items: Iterable<T>,
  work: (item: T) => Promise<void>,
): Promise<unknown[]> {
  const failures: unknown[] = [];
  for (const item of items) {
    try {
      await work(item);
    } catch (error) {
      context.signal.throwIfAborted();
      failures.push(error);
      context.stderr.write(reportError(error, false).text);
    }
  }
  return failures;
}

/** Refuses what excludes each other. */
export function refuseTogether(pairs: readonly (readonly [boolean, boolean, string])[]): void {
  for (const [one, other, message] of pairs) if (one && other) throw new UsageError(message);
}
