import { FailedError } from '../../base/errors.ts';
import type { ResourceDefinition } from './resource-definition.ts';
import { resourceKey } from './resource-definition.ts';

/** A group with its versions, in the order of discovery. */
export interface GroupVersions {
  readonly group: string;
  readonly versions: readonly string[];
}

/** Every resource that a server serves. */
export class DefinitionRegistry {
  readonly definitions: readonly ResourceDefinition[];
  readonly #byPath = new Map<string, ResourceDefinition>();

  constructor(definitions: readonly ResourceDefinition[]) {
    this.definitions = definitions;
    for (const definition of definitions) {
      const path = `${definition.group}/${definition.version}/${definition.plural}`;
      if (this.#byPath.has(path)) throw new FailedError(`${path} is defined twice`);
      this.#byPath.set(path, definition);
    }
  }

  find(group: string, version: string, plural: string): ResourceDefinition | undefined {
    return this.#byPath.get(`${group}/${version}/${plural}`);
  }

  /** The definition that an owner reference or an admission hook means. */
  findKind(apiVersion: string, kind: string): ResourceDefinition | undefined {
    const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
    return this.definitions.find((one) => one.group === group && one.version === version && one.kind === kind);
  }

  /** The definition that stores under a key of the store. */
  storing(key: string): ResourceDefinition | undefined {
    return this.definitions.find((one) => one.conversion === undefined && resourceKey(one) === key);
  }

  hasGroupVersion(group: string, version: string): boolean {
    return this.definitions.some((one) => one.group === group && one.version === version);
  }

  of(group: string, version: string): ResourceDefinition[] {
    return this.definitions.filter((one) => one.group === group && one.version === version);
  }

  /** Groups other than the core one, in the order in which they were defined. */
  get groups(): GroupVersions[] {
    const groups = new Map<string, Set<string>>();
    for (const { group, version } of this.definitions) {
      if (group !== '') groups.set(group, (groups.get(group) ?? new Set()).add(version));
    }
    return [...groups].map(([group, versions]) => ({ group, versions: [...versions] }));
  }
}
