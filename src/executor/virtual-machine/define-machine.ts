import { compareDefinition, define, refreshMark, toFieldChange, toKnown } from './definition.ts';
import type { DomainView } from './domain-view.ts';
import { NotReadyError } from './not-ready-error.ts';
import { messageOf, readMachineDomain, retryMs, tellEvent, type Round } from './round.ts';
import { tellDrift } from './tell-drift.ts';
import { domainName, type FieldChange } from '../../api/virtual-machine.ts';
import { InvalidInputError } from '../../base/errors.ts';
import { isDomainMissing, isNotFound, LibvirtError } from '../../libvirt/errors.ts';

/** libvirt has a running domain without a definition, a transient one; a define makes it persistent and leaves the guest alone. */
const undefinedBehindOurBack: FieldChange = {
  path: 'definition',
  message: 'the domain was undefined while it runs: without a definition it is gone when it ends',
};

/** Brings the definition to what is wanted. */
export async function defineMachine(round: Round): Promise<void> {
  const { status, libvirt, wanted, options } = round;
  const { machine } = status;
  if (wanted === undefined) {
    status.condition('Synchronized', false, reasonOf(round.trouble), messageOf(round.trouble));
    return;
  }
  const view = round.view;
  const drift = view === undefined ? undefined : compareDefinition(machine, wanted, view);
  if (
    view === undefined &&
    machine.status?.nodeName === round.parts.nodeName &&
    machine.status.domain?.uuid !== undefined
  ) {
    const message = `the domain ${domainName(machine)} was undefined behind our back; it is defined anew`;
    tellEvent(round, 'Warning', 'DomainVanished', 'Define', message);
  }
  const changes = [
    ...(drift?.isUndefined === true ? [undefinedBehindOurBack] : []),
    ...(drift?.differences ?? []).map((difference) => toFieldChange(toKnown(difference))),
  ];
  const isDrift = drift?.specChanged === false && changes.length > 0;
  if (isDrift && machine.spec.driftPolicy === 'Report') {
    tellDrift(round, changes, false);
    return;
  }
  try {
    if (view?.domain.name !== undefined && view.domain.name !== domainName(machine)) await rename(round, view);
    if (view === undefined || drift?.needed === 'define') {
      round.view = await define(libvirt, machine, wanted, round.view, options);
      if (view === undefined)
        tellEvent(round, 'Normal', 'Defined', 'Define', `defined the domain ${domainName(machine)}`);
    } else if (drift?.needed === 'mark') round.view = await refreshMark(machine, wanted, view, options);
  } catch (error) {
    const isRefused = error instanceof LibvirtError || error instanceof InvalidInputError;
    if (!isRefused || isDomainMissing(error)) throw error;
    round.trouble = error;
    round.wanted = undefined;
    round.requeueAfterMs = retryMs;
    status.condition('Synchronized', false, 'DefineFailed', messageOf(error));
    tellEvent(round, 'Warning', 'DefineFailed', 'Define', messageOf(error));
    return;
  }
  if (isDrift) tellDrift(round, changes, true);
  else if (status.next.drift === undefined || drift?.specChanged === true || machine.spec.driftPolicy === 'Report') {
    delete status.next.drift;
    status.condition('Synchronized', true, 'InSync');
  }
}

async function rename(round: Round, view: DomainView): Promise<void> {
  const [now, wanted] = [view.domain.name, domainName(round.status.machine)];
  if (await isTaken(round, wanted, view)) {
    const remedy = `give that one another name: virsh domrename ${wanted} NEW-NAME, while it is off`;
    throw new NameError(`the machine's domain is called "${now}", and another one "${wanted}"; ${remedy}`);
  }
  // libvirt renames only what is off; until then the machine goes on under its old name.
  if (view.state !== 'off') {
    throw new NameError(`the running domain "${now}" can be renamed to "${wanted}" only when it is off`);
  }
  await view.domain.rename(wanted, round.options);
  await readMachineDomain(round);
}

/** Whether somebody gave the name to another domain. */
async function isTaken({ libvirt, options }: Round, name: string, view: DomainView): Promise<boolean> {
  try {
    return (await libvirt.domains.byName(name, options)).uuid !== view.domain.uuid;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** Its domain has another name than it is to have, and cannot be renamed now. */
class NameError extends InvalidInputError {
  constructor(message: string) {
    super([{ path: 'spec.domain.name', message }]);
  }
}

/** Why there is nothing to define: what is merely not there yet is no failure, and who waits goes on waiting. */
function reasonOf(trouble: Error | undefined): 'InvalidSpec' | 'DefineFailed' | NotReadyError['reason'] {
  if (trouble instanceof NotReadyError) return trouble.reason;
  return trouble instanceof InvalidInputError ? 'InvalidSpec' : 'DefineFailed';
}
