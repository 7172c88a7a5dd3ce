/** What is refused before the first object is made, so that nothing is left half done. */
import { validateObject } from '../../api/validate.ts';
import { ConflictError, InvalidInputError, NotFoundError } from '../../base/errors.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { NewObject } from '../../executor/adoption/known-objects.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import { builtin } from '../../kube/resource-type.ts';

/**
 * Looks at every object of a domain as admission will.
 *
 * @param domain The domain's name, which each problem is told with.
 * @throws InvalidInputError with every problem of every object.
 */
export function refuseInvalid(domain: string, objects: readonly NewObject[]): void {
  const problems = objects.flatMap((object) =>
    validateObject(object).map((problem) => ({ ...problem, file: `domain ${domain}` })),
  );
  if (problems.length > 0) throw new InvalidInputError(problems);
}

/** @throws NotFoundError when the namespace that machines are to be made in is not there. */
export async function refuseMissingNamespace(client: KubeClient, signal: AbortSignal): Promise<void> {
  const name = client.namespace;
  const namespaces = client.resource<KubeObject>(builtin.namespaces);
  if ((await namespaces.find({ name }, { signal })) !== undefined) return;
  throw new NotFoundError(`there is no namespace "${name}"`, { hint: `kubectl create namespace ${name}` });
}

/** @throws ConflictError when the disk, network or snapshot under an object's name is not the one that was to be made. */
export function refuseOther(wanted: KubeObject, there: KubeObject): void {
  if (wanted.kind === 'VirtualMachineSnapshot') {
    // What else it says of itself may be its user's, who applied it before.
    const [{ spec: own }, { spec: other }] = [wanted, there] as [VirtualMachineSnapshot, VirtualMachineSnapshot];
    if (other.virtualMachine === own.virtualMachine && other.schedule === undefined) return;
  } else if (wanted.kind !== 'VirtualDisk' && wanted.kind !== 'VirtualNetwork') return;
  else if (includes(specOf(there), specOf(wanted))) return;
  throw new ConflictError(`another ${wanted.kind} ${wanted.metadata.name ?? ''} was made meanwhile`, {
    hint: 'run this again',
  });
}

function specOf(object: KubeObject): unknown {
  return (object as KubeObject & { readonly spec?: unknown }).spec;
}

/** Whether all of `wanted` stands in `actual`; defaults may stand beside it. */
function includes(actual: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return wanted === undefined || wanted === actual;
  if (typeof actual !== 'object' || actual === null) return false;
  if (Array.isArray(wanted) && (!Array.isArray(actual) || actual.length !== wanted.length)) return false;
  return Object.entries(wanted).every(([key, value]) =>
    includes((actual as Readonly<Record<string, unknown>>)[key], value),
  );
}
