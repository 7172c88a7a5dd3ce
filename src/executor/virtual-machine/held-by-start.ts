import type { DomainView } from './domain-view.ts';
import { OutcomeUnknownError, isLibvirtTimeout } from '../../libvirt/errors.ts';

/** Whether an error comes of libvirt's being busy with the start of this domain; see endless-start.ts. */
export function isHeldByStart(view: DomainView | undefined, error: unknown): boolean {
  const { state, reason } = view?.libvirtState ?? {};
  if (state !== 'paused' || reason !== 'starting-up') return false;
  return isLibvirtTimeout(error) || (error instanceof OutcomeUnknownError && error.reason === 'timeout');
}
