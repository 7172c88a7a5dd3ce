/** A bar on a terminal that says how much of a transfer is done, how fast it is, and when it will be over. */
import type { Context } from './context.ts';
import { startProgress } from './progress.ts';
import { formatBytesRounded } from '../api/quantity.ts';

/** A transfer as it is shown. */
export interface TransferBar {
  /** All bytes so far. */
  readonly onProgress: (bytes: number) => void;
  readonly stop: () => void;
}

const width = 24;

/**
 * Starts a bar on stderr, when that is a terminal.
 *
 * @param what Is written before it, as `web`.
 * @param totalBytes Undefined when nobody knows.
 * @param fromBytes What was there before this transfer began: it counts for the bar, not for the speed.
 */
export async function startTransferBar(
  context: Context,
  what: string,
  totalBytes: number | undefined,
  fromBytes = 0,
): Promise<TransferBar> {
  const progress = await startProgress(context, 2);
  const beganMs = context.now();
  return {
    onProgress: (bytes) =>
      progress.update(`${what} ${transferText(bytes, totalBytes, context.now() - beganMs, fromBytes)}`),
    stop: () => progress.stop(),
  };
}

/** `[######------------------]  25 % of 4.0Gi, 120Mi/s, 25 s left`. */
export function transferText(bytes: number, totalBytes: number | undefined, elapsedMs: number, fromBytes = 0): string {
  const perSecond = elapsedMs > 0 ? ((bytes - fromBytes) * 1000) / elapsedMs : 0;
  const speed = `${formatBytesRounded(Math.round(perSecond))}/s`;
  if (totalBytes === undefined || totalBytes === 0) return `${formatBytesRounded(bytes)}, ${speed}`;
  const part = Math.min(1, bytes / totalBytes);
  const filled = Math.floor(part * width);
  const left = perSecond > 0 ? `, ${Math.ceil((totalBytes - bytes) / perSecond)} s left` : '';
  return (
    `[${'#'.repeat(filled)}${'-'.repeat(width - filled)}] ${String(Math.floor(part * 100)).padStart(3)} % of ` +
    `${formatBytesRounded(totalBytes)}, ${speed}${part < 1 ? left : ''}`
  );
}
