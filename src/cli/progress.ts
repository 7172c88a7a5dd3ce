import type { Context } from './context.ts';

/** A line on a terminal that says how far something is; nothing anywhere else. */
export interface Progress {
  /** Shows a text; cheap to call often. */
  update(text: string): void;
  /** Takes the line away, so that something can be printed; the next update shows it again. */
  clear(): void;
  /** Ends it. */
  stop(): void;
}

const noProgress: Progress = {
  update: () => undefined,
  clear: () => undefined,
  stop: () => undefined,
};

/** More updates than this many milliseconds apart are not shown. */
const intervalMs = 80;

/** Starts a progress line on stderr for more than one step, when stderr is a terminal. ora is loaded only then. */
export async function startProgress(context: Context, steps: number): Promise<Progress> {
  if (context.stderr.isTTY !== true || steps < 2) return noProgress;
  const { default: ora } = await import('ora');
  // ora would be silent where the variable CI is set, also on a terminal.
  const spinner = ora({ text: '', stream: context.stderr, discardStdin: false, isEnabled: true }).start();
  let lastMs = 0;
  return {
    update(next) {
      const nowMs = context.now();
      if (nowMs - lastMs < intervalMs) return;
      lastMs = nowMs;
      spinner.text = next;
      spinner.render();
    },
    clear: () => void spinner.clear(),
    stop: () => void spinner.stop(),
  };
}
