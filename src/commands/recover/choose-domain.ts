/** Which of the domains that carry a machine's mark is the machine. Pure. */
import type { Host } from './open-hosts.ts';
import { ConflictError } from '../../base/errors.ts';
import type { MachineMark } from '../../executor/virtual-machine/domain-metadata.ts';
import type { DomainView } from '../../executor/virtual-machine/domain-view.ts';
import { uuidOfMark } from '../../executor/virtual-machine/foreign-domain.ts';

/** A domain with our mark. */
export interface MarkedDomain {
  readonly host: Host;
  readonly view: DomainView;
  readonly mark: MachineMark;
}

/** Whether somebody made it of the machine's domain, mark and all: it has another UUID than the one that was marked. */
export function isCopy({ view, mark }: MarkedDomain): boolean {
  return view.domain.uuid !== uuidOfMark(mark);
}

/**
 * Chooses the one that runs: a migration may have left a definition behind. A copy is the machine only where there is
 * nothing else.
 *
 * @throws ConflictError when two of them run: which is the machine is not for a program to say.
 */
export function chooseDomain(domains: readonly MarkedDomain[]): MarkedDomain {
  const own = domains.filter((domain) => !isCopy(domain));
  const all = own.length === 0 ? domains : own;
  const active = all.filter(({ view }) => view.state !== 'off');
  const [first] = active.length === 0 ? all : active;
  if (first === undefined) throw new TypeError('a machine without a domain');
  if (active.length <= 1) return first;
  const { namespace, name } = first.mark;
  const where = active.map(({ host }) => host.node.name).join(' and ');
  throw new ConflictError(`vm/${name} in ${namespace} is active on ${where}: not recovered`, {
    hint: 'destroy the copy that is wrong with virsh, and recover again',
  });
}
