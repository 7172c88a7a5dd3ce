/**
 * What is wrong with an object of ours, beyond what an API server finds by the CRD: the one function that the command
 * line, the embedded server's admission, the admission webhook (review-admission.ts) and the executor before it acts
 * all call. Pure: what it must know of other objects comes in as a {@link Lookup}.
 */
import { InvalidInputError } from '../base/errors.ts';
import { checkValue } from './check-value.ts';
import { kinds } from './kinds.ts';
import type { Lookup } from './lookup.ts';
import { apiVersion, type KubeObject } from './meta.ts';
import { isRecord, Problems, sameJson, type Problem } from './problem.ts';
import type { Rules } from './rules.ts';
import { checkOperation } from './rules-operation.ts';
import { checkNetwork } from './rules-network.ts';
import { checkHypervisor, checkSnapshot } from './rules-others.ts';
import { checkDisk, checkImage, checkPool } from './rules-storage.ts';
import { checkMachineSize, checkVirtualMachine } from './rules-virtual-machine.ts';
import { schemas } from './schemas.ts';

/** What an object is checked against. */
export interface ValidateOptions {
  /** The object before an update. Its spec, if the new one is equal, is not checked again. */
  readonly old?: KubeObject | undefined;
  /** Other objects; without it nothing about them is checked. */
  readonly lookup?: Lookup | undefined;
}

const rules: Readonly<Record<string, Rules<never>>> = {
  VirtualMachine: checkVirtualMachine,
  VirtualMachineOperation: checkOperation,
  VirtualDisk: checkDisk,
  VirtualImage: checkImage,
  VirtualPool: checkPool,
  VirtualNetwork: checkNetwork,
  VirtualMachineSnapshot: checkSnapshot,
  Hypervisor: checkHypervisor,
};

const topLevel = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];

/**
 * Finds every problem of an object of one of our kinds, errors and warnings; an object of another group has none. The
 * status is not looked at: it is written by our own executors and checked by the CRD.
 */
export function validateObject(object: unknown, options: ValidateOptions = {}): readonly Problem[] {
  const problems = new Problems();
  if (!isRecord(object) || typeof object['kind'] !== 'string') {
    problems.add('', 'Invalid', 'expected an object with apiVersion and kind');
    return problems.list;
  }
  if (object['apiVersion'] !== apiVersion) {
    if (String(object['apiVersion']).startsWith('virtctl.dev/')) {
      problems.add('apiVersion', 'NotSupported', `expected ${apiVersion}, found ${String(object['apiVersion'])}`);
    }
    return problems.list;
  }
  const info = kinds.find((one) => one.kind === object['kind']);
  const schema = info === undefined ? undefined : schemas[info.kind];
  if (info === undefined || schema === undefined) {
    const known = kinds.map((one) => one.kind).join(', ');
    problems.add('kind', 'NotSupported', `there is no kind ${object['kind']}; there are ${known}`);
    return problems.list;
  }
  for (const key of Object.keys(object)) {
    if (!topLevel.includes(key)) problems.add(key, 'NotSupported', 'unknown key; did it belong into spec?');
  }
  if (!isRecord(object['metadata'])) {
    problems.add('metadata', 'Required', 'is required');
    return problems.list;
  }
  const { old } = options;
  const { spec } = object;
  if (old !== undefined && sameJson(spec, old.spec)) return problems.list;
  if (spec === undefined || spec === null) {
    if (schema.specRequired) problems.add('spec', 'Required', 'is required');
    return problems.list;
  }
  if (info.kind === 'VirtualMachine') checkMachineSize(object, problems);
  const before = problems.list.length;
  checkValue(schema.spec.node, spec, 'spec', problems);
  if (problems.list.length > before) return problems.list;
  // The schema holds, so the object has the kind's type: what the rules of that kind take.
  const input = { object: object as never, old: old as never, lookup: options.lookup, problems };
  rules[info.kind]?.(input);
  return problems.list;
}

/** Why an object cannot be deleted, if so. */
export function validateDeletion(object: KubeObject): readonly Problem[] {
  const problems = new Problems();
  const spec = object.spec;
  if (object.apiVersion === apiVersion && isRecord(spec) && spec['deletionProtection'] === true) {
    problems.add(
      'spec.deletionProtection',
      'Forbidden',
      `${object.kind} "${object.metadata.name ?? ''}" is protected: set deletionProtection to false first`,
    );
  }
  return problems.list;
}

/**
 * Refuses an object with errors; warnings pass.
 *
 * @throws InvalidInputError with every error.
 */
export function assertValid(object: unknown, options: ValidateOptions = {}): void {
  const errors = validateObject(object, options).filter((one) => one.severity === 'error');
  if (errors.length > 0) throw new InvalidInputError(errors);
}
