/** Our own kinds as the embedded server serves them: their CRDs, and the validation that a CRD cannot express. */
import type { Cause } from '../http/api-error.ts';
import type { CustomResourceDefinition } from './crd-definition.ts';
import { definitionOfCrd } from './crd-definition.ts';
import type { AdmissionReader, AdmissionRequest, ResourceDefinition } from './resource-definition.ts';
import { customResourceDefinition } from '../../api/crd.ts';
import { kinds } from '../../api/kinds.ts';
import type { Lookup } from '../../api/lookup.ts';
import { disksOf, networksOf } from '../../api/lookup.ts';
import type { KubeObject } from '../../api/meta.ts';
import { group } from '../../api/meta.ts';
import { validateDeletion, validateObject } from '../../api/validate.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { VirtualNetwork } from '../../api/virtual-network.ts';

/** The definitions of all our kinds. */
export function virtctlKinds(): ResourceDefinition[] {
  return kinds.map((info) =>
    definitionOfCrd(customResourceDefinition(info) as unknown as CustomResourceDefinition, { admit }),
  );
}

function admit(request: AdmissionRequest): Cause[] {
  if (request.subresource !== '') return [];
  const object = request.object as unknown as KubeObject;
  const problems =
    request.operation === 'DELETE'
      ? validateDeletion(object)
      : validateObject(object, {
          old: request.old as unknown as KubeObject | undefined,
          lookup: lookupIn(request.read),
        });
  for (const { severity, path, message } of problems) {
    if (severity === 'warning') request.warn(`${path}: ${message}`);
  }
  return problems
    .filter(({ severity }) => severity === 'error')
    .map(({ reason, message, path }) => ({ reason: `FieldValue${reason}`, message, field: path }));
}

const resources = new Map<string, string>([
  ['Secret', 'secrets'],
  ['ConfigMap', 'configmaps'],
  ['Namespace', 'namespaces'],
  ...kinds.map(({ kind, plural }): [string, string] => [kind, `${plural}.${group}`]),
]);

function lookupIn(read: AdmissionReader): Lookup {
  return {
    find(kind, namespace, name) {
      const resource = resources.get(kind);
      if (resource === undefined) return undefined;
      return read.get(resource, namespace ?? '', name) as unknown as KubeObject | undefined;
    },
    usersOfDisk(namespace, disk) {
      const mentioning = read.mentioning(
        `virtualmachines.${group}`,
        namespace,
        `"virtualDisk":${JSON.stringify(disk)}`,
      );
      const machines = mentioning as unknown as VirtualMachine[];
      return machines.filter((machine) => disksOf(machine).some((use) => use.disk === disk));
    },
    usersOfNetwork(namespace, network) {
      const text = `"virtualNetwork":${JSON.stringify(network)}`;
      const machines = read.mentioning(`virtualmachines.${group}`, namespace, text) as unknown as VirtualMachine[];
      return machines.filter((machine) => networksOf(machine).includes(network));
    },
    networks: () => read.mentioning(`virtualnetworks.${group}`, '', '') as unknown as VirtualNetwork[],
  };
}
