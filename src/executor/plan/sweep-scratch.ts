import { scratchPrefix, undefineScratch } from './scratch-define.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';

/** A plan takes its scratch definition away within this long, in milliseconds. */
const scratchLifeMs = 60_000;

/**
 * Takes away the scratch definitions of `virtctl plan` that a killed process left behind: those that are there, off, and
 * still there a minute later.
 *
 * @throws the signal's reason, and what libvirt throws when the connection is lost.
 */
export async function sweepScratch(libvirt: Libvirt, clock: Clock, logger: Logger, signal: AbortSignal): Promise<void> {
  const options = { signal, timeoutMs: 30_000 };
  const found = (await libvirt.domains.list({ inactive: true, ...options })).filter(({ name }) =>
    name.startsWith(scratchPrefix),
  );
  if (found.length === 0) return;
  await clock.sleep(scratchLifeMs, signal);
  for (const domain of found) {
    try {
      await undefineScratch(domain);
      logger.info('took a scratch definition away that a killed plan had left', { domain: domain.name });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
