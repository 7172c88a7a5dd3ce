/**
 * A domain that has a machine's name or UUID and is not the machine's: nothing is done to it, and it is told whose it is and
 * what would mend that.
 */
import type { MachineMark } from './domain-metadata.ts';
import type { DomainView } from './domain-view.ts';
import { retryMs, tellEvent, type Round } from './round.ts';
import { isObject } from './same-value.ts';
import { machineUuid } from '../../api/machine-uuid.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';

/**
 * Whether a domain is not the machine's. Its own has its UUID, and no mark or one of it; a machine whose object was lost and
 * made anew (another uid) has the name and the UUID of the mark. A mark alone is no proof: who copies a domain copies it.
 */
export function isForeign(machine: VirtualMachine, view: DomainView | undefined): boolean {
  if (view === undefined) return false;
  const { uid, namespace, name } = machine.metadata;
  const { mark, domain } = view;
  const hasUuid = domain.uuid === machineUuid(machine);
  if (mark === undefined) return !hasUuid;
  if (mark.uid === uid) return !hasUuid && domain.uuid !== uuidOfMark(mark);
  return !(hasUuid && mark.namespace === namespace && mark.name === name);
}

/**
 * Tells that the machine's domain cannot be made, or is another's.
 *
 * @returns What was told.
 */
export async function tellForeign(round: Round, view: DomainView): Promise<string> {
  const { status, parts } = round;
  const message = foreignMessage(status.machine, view, parts.nodeName);
  status.condition('Synchronized', false, 'ForeignDomain', message);
  status.condition('Ready', false, 'StartFailed', message);
  status.next.printableStatus = 'Error';
  status.next.observedGeneration = status.machine.metadata.generation;
  tellEvent(round, 'Warning', 'ForeignDomain', 'Define', message);
  await status.write();
  round.requeueAfterMs = retryMs;
  return message;
}

/** Whose a foreign domain is; what mends that is after the last semicolon. */
export function foreignMessage(machine: VirtualMachine, { domain, mark }: DomainView, nodeName: string): string {
  const { namespace = 'default', name = '', uid } = machine.metadata;
  const what = `the domain "${domain.name}" (${domain.uuid}) of this node`;
  // Without the UUID it was found by its name.
  const rename = `virsh domrename ${domain.name} NEW-NAME, while it is off, on node ${nodeName}`;
  if (mark === undefined) return `${what} belongs to somebody else, and is left alone; ${rename}`;
  if (mark.uid === uid) return `${what} is a copy of this machine's, with another UUID, and is left alone; ${rename}`;
  if (mark.namespace !== namespace || mark.name !== name) {
    const member = domain.uuid === machineUuid(machine) ? 'uuid' : 'name';
    const owner = `VirtualMachine ${mark.namespace}/${mark.name}`;
    return `${what} is that of ${owner}, and is left alone; make this machine anew with another spec.domain.${member}`;
  }
  return (
    `${what} was made for an earlier VirtualMachine ${namespace}/${name}, whose object went without it, and is left alone; ` +
    `to have that back: virtctl delete vm ${name} -n ${namespace}, then virtctl recover --node ${nodeName} on the node, ` +
    `to be rid of it: virsh destroy ${domain.name}, then virsh undefine ${domain.name} --nvram`
  );
}

/** The UUID of the domain that a mark was written into. */
export function uuidOfMark({ uid, spec }: Pick<MachineMark, 'uid' | 'spec'>): string {
  const domain = isObject(spec) ? spec['domain'] : undefined;
  const uuid = isObject(domain) ? domain['uuid'] : undefined;
  return machineUuid({ metadata: { uid }, spec: typeof uuid === 'string' ? { domain: { uuid } } : {} });
}
