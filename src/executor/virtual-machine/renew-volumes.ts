import type { Round } from './round.ts';

/**
 * Throws away what a guest wrote to volumes that last one run, before the next begins. A saved guest goes on with what it
 * had.
 */
export async function renewVolumes({ view, volumes, signal }: Round): Promise<void> {
  if (view?.state !== 'off' || view.hasManagedSave) return;
  for (const { renew } of volumes) await renew?.(signal);
}
