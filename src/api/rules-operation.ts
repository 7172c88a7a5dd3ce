import type { Problems } from './problem.ts';
import { checkReference, presentOf, type RuleInput } from './rules.ts';
import { sameJson } from './problem.ts';
import {
  verbParameters,
  verbsThatNeedParameters,
  type OperationVerb,
  type VirtualMachineOperation,
} from './virtual-machine-operation.ts';
import type { RunStrategy, VirtualMachine } from './virtual-machine.ts';

/** The rules of a VirtualMachineOperation beyond its schema. */
export function checkOperation({ object, old, lookup, problems }: RuleInput<VirtualMachineOperation>): void {
  const { spec } = object;
  const { namespace } = object.metadata;
  const own = verbParameters[spec.verb];
  for (const member of presentOf(spec, Object.values(verbParameters))) {
    if (member !== own) problems.add(`spec.${member}`, 'Invalid', `is not for the verb ${spec.verb}`);
  }
  if (own !== undefined && verbsThatNeedParameters.includes(spec.verb) && presentOf(spec, [own]).length === 0) {
    problems.add(`spec.${own}`, 'Required', `is required for the verb ${spec.verb}`);
  }
  checkKeys(spec.sendKey, problems);
  if (old !== undefined) {
    const { ttlSecondsAfterFinished: _, ...now } = spec;
    const { ttlSecondsAfterFinished: __, ...before } = old.spec;
    if (!sameJson(now, before)) {
      problems.add('spec', 'Forbidden', 'cannot be changed: an operation is done once; create another one');
    }
    return;
  }
  checkReference(lookup, 'VirtualMachine', namespace, spec.virtualMachine, 'spec.virtualMachine', problems);
  const secret = spec.setUserPassword?.secretRef.name;
  checkReference(lookup, 'Secret', namespace, secret, 'spec.setUserPassword.secretRef.name', problems);
  checkReference(lookup, 'VirtualMachineSnapshot', namespace, spec.revert?.snapshot, 'spec.revert.snapshot', problems);
  checkReference(lookup, 'Hypervisor', undefined, spec.migrate?.nodeName, 'spec.migrate.nodeName', problems);
  const machine = lookup?.find('VirtualMachine', namespace, spec.virtualMachine) as VirtualMachine | undefined;
  const refusal = machine === undefined ? undefined : refusedByRunStrategy(spec.verb, machine.spec.runStrategy);
  if (refusal !== undefined) problems.add('spec.verb', 'Forbidden', refusal);
}

/**
 * Why an operation makes no sense for a machine of a run strategy: it would be undone at once.
 *
 * @returns undefined when it does make sense.
 */
export function refusedByRunStrategy(verb: OperationVerb, strategy: RunStrategy = 'Always'): string | undefined {
  if (verb === 'Stop' && strategy === 'Always') {
    return 'a machine with runStrategy Always is started again at once; set runStrategy to Halted instead';
  }
  if ((verb === 'Start' || verb === 'Restart') && strategy === 'Halted') {
    return 'a machine with runStrategy Halted is shut down again at once; set another runStrategy instead';
  }
  return undefined;
}

function checkKeys(sendKey: VirtualMachineOperation['spec']['sendKey'], problems: Problems): void {
  for (const [index, key] of (sendKey?.keys ?? []).entries()) {
    if (/^(KEY_[A-Z0-9_]+|VK_[A-Z0-9_]+|k?VK_[A-Za-z0-9_]+|[A-Za-z0-9_]+|0x[0-9a-fA-F]+)$/.test(key)) continue;
    problems.add(`spec.sendKey.keys[${index}]`, 'Invalid', 'expected a key name as KEY_LEFTCTRL, or a number');
  }
}
