import type { Command } from 'commander';
import { configurePlan, makePlans } from './plan.ts';
import { VirtctlError } from '../base/errors.ts';
import { ExitCode } from '../base/exit-code.ts';
import type { Context } from '../cli/context.ts';
import { reportError } from '../cli/report-error.ts';
import { ReportedFailure } from '../cli/reported-failure.ts';

/**
 * `virtctl diff -f`: the same as `plan`, with the exit codes of `kubectl diff`: 0 nothing differs, 1 something does, more
 * than 1 it could not be found out.
 */
export function configure(command: Command, context: Context): void {
  configurePlan(command, context, [['Whether anything differs', 'virtctl diff -f machines/ >/dev/null && echo same']]);
  command.action(async (flags: Parameters<typeof makePlans>[1]) => {
    let plans: Awaited<ReturnType<typeof makePlans>>;
    try {
      plans = await makePlans(context, flags);
    } catch (error) {
      if (error instanceof VirtctlError && error.exitCode !== ExitCode.Failed) throw error;
      // 1 means a difference here.
      context.stderr.write(reportError(error, false).text);
      throw new ReportedFailure(ExitCode.InvalidInput);
    }
    if (plans.some(({ action }) => action !== 'none')) throw new ReportedFailure(ExitCode.Failed);
  });
}
