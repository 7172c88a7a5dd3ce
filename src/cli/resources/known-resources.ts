/**
 * The objects that the resource commands (get, describe, apply, create, delete, edit, wait, label, events) are for, and
 * how a command line names them.
 *
 *   known-resources.ts   words → resource types          resource-options.ts  flags that they share
 *   targets.ts           arguments and files → targets    fetch.ts             targets → objects
 *   print-objects.ts     -o json|yaml|name|jsonpath|…     print-table.ts       tables as kubectl prints them
 *   manifests.ts         -f files → objects to write
 */
import { category, findKind, kinds, type KindInfo, type PrinterColumn } from '../../api/kinds.ts';
import { group, version } from '../../api/meta.ts';
import { UsageError } from '../../base/errors.ts';
import { builtin, type ResourceType } from '../../kube/resource-type.ts';
import { nearestName } from '../../model/nearest.ts';

/** A resource that the command line knows. */
export interface KnownResource extends ResourceType {
  readonly singular: string;
  readonly shortNames: readonly string[];
  /** For rows that are made here: while watching. */
  readonly columns: readonly PrinterColumn[];
}

const age: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp', description: '' };

function own(info: KindInfo): KnownResource {
  const { kind, plural, singular, shortNames, namespaced, columns } = info;
  return { group, version, kind, plural, singular, shortNames, namespaced, columns };
}

function foreign(type: ResourceType, singular: string, shortNames: readonly string[]): KnownResource {
  return { ...type, singular, shortNames, columns: [age] };
}

/** Core events: the view that kubectl shows too. */
export const coreEvents: ResourceType = { ...builtin.events, group: '', version: 'v1' };

const others: readonly KnownResource[] = [
  foreign(builtin.namespaces, 'namespace', ['ns']),
  foreign(builtin.secrets, 'secret', []),
  foreign(builtin.configMaps, 'configmap', ['cm']),
  foreign(builtin.leases, 'lease', []),
  foreign(builtin.nodes, 'node', ['no']),
  foreign(builtin.customResourceDefinitions, 'customresourcedefinition', ['crd', 'crds']),
  foreign(coreEvents, 'event', ['ev']),
];

/** A kind of ours as a resource. */
export function resourceOf(info: KindInfo): KnownResource {
  return own(info);
}

/**
 * The resources that a word names: a kind in any of its forms, several with commas, or the category `virt`.
 *
 * @throws UsageError for a word that names none.
 */
export function resourcesNamed(word: string): KnownResource[] {
  return word.split(',').flatMap((one) => {
    if (one.toLowerCase() === category || one.toLowerCase() === 'all') return kinds.map(own);
    const found = findKind(one);
    if (found !== undefined) return [own(found)];
    const name = one.toLowerCase();
    const other = others.find(({ plural, singular, shortNames, group: itsGroup }) =>
      [plural, singular, ...shortNames, `${plural}.${itsGroup}`].includes(name),
    );
    if (other !== undefined) return [other];
    const words = [...kinds, ...others].flatMap(({ plural, singular, shortNames }) => [
      plural,
      singular,
      ...shortNames,
    ]);
    const near = nearestName(name, words);
    throw new UsageError(`there is no kind "${one}"`, {
      hint: near === undefined ? `there are ${kinds.map(({ plural }) => plural).join(', ')}` : `did you mean ${near}?`,
    });
  });
}

/** The resource of an object; undefined for one that the command line does not know. */
export function resourceOfObject(object: {
  readonly apiVersion: string;
  readonly kind: string;
}): KnownResource | undefined {
  return [...kinds.map(own), ...others].find(
    (one) =>
      one.kind === object.kind &&
      (one.group === '' ? one.version : `${one.group}/${one.version}`) === object.apiVersion,
  );
}

/** How an object is called on stdout: `virtualmachine.virtctl.dev/web`, `secret/key`. */
export function printedName(resource: KnownResource, name: string): string {
  return `${resource.singular}${resource.group === '' ? '' : `.${resource.group}`}/${name}`;
}
