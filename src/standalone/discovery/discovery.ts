/** Discovery documents: which groups, versions and resources there are. */
import { createHash } from 'node:crypto';
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import { apiVersionOf } from '../kinds/resource-definition.ts';
import type { DefinitionRegistry } from '../kinds/registry.ts';
import { subresourcesOf } from '../http/request-info.ts';
import type { JsonObject } from '../schema/json-schema.ts';

const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

/** /api */
export function apiVersions(address: string): JsonObject {
  return {
    kind: 'APIVersions',
    versions: ['v1'],
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: address }],
  };
}

/** /apis */
export function groupList(registry: DefinitionRegistry): JsonObject {
  return {
    kind: 'APIGroupList',
    apiVersion: 'v1',
    groups: registry.groups.map(({ group }) => groupEntry(registry, group)),
  };
}

/** /apis/GROUP; undefined when there is no such group. */
export function group(registry: DefinitionRegistry, name: string): JsonObject | undefined {
  if (!registry.groups.some((one) => one.group === name)) return undefined;
  return { kind: 'APIGroup', apiVersion: 'v1', ...groupEntry(registry, name) };
}

function groupEntry(registry: DefinitionRegistry, name: string): JsonObject {
  const versions = registry.groups.find((one) => one.group === name)?.versions ?? [];
  const entries = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: entries, preferredVersion: entries[0] };
}

/** /api/v1 and /apis/GROUP/VERSION; undefined when there is no such version. */
export function resourceList(registry: DefinitionRegistry, groupName: string, version: string): JsonObject | undefined {
  const definitions = registry.of(groupName, version);
  const [first] = definitions;
  if (first === undefined) return undefined;
  return {
    kind: 'APIResourceList',
    ...(groupName === '' ? {} : { apiVersion: 'v1' }),
    groupVersion: apiVersionOf(first),
    resources: definitions.flatMap(resourceEntries),
  };
}

function resourceEntries(definition: ResourceDefinition): JsonObject[] {
  const { plural, singular, kind, shortNames, categories, scope, builtIn } = definition;
  const namespaced = scope === 'Namespaced';
  const own = kind === 'Namespace' ? verbs.filter((verb) => verb !== 'deletecollection') : verbs;
  const identity = `${definition.group}/${plural}/${definition.version}`;
  return [
    {
      name: plural,
      singularName: builtIn === true ? '' : singular,
      namespaced,
      kind,
      verbs: own,
      ...(shortNames.length === 0 ? {} : { shortNames }),
      ...(categories.length === 0 ? {} : { categories }),
      storageVersionHash: createHash('sha512').update(identity).digest().subarray(0, 8).toString('base64'),
    },
    ...subresourcesOf(definition).map((subresource) => ({
      name: `${plural}/${subresource}`,
      singularName: '',
      namespaced,
      kind,
      verbs: subresource === 'finalize' ? ['update'] : ['get', 'patch', 'update'],
    })),
  ];
}
