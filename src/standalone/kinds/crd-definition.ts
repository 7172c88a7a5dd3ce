import { InvalidInputError } from '../../base/errors.ts';
import type { JsonSchema } from '../schema/json-schema.ts';
import type { PrinterColumn, ResourceDefinition } from './resource-definition.ts';

/** The part of an apiextensions.k8s.io/v1 CustomResourceDefinition that the server uses. */
export interface CustomResourceDefinition {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly scope: string;
    readonly names: {
      readonly plural: string;
      readonly singular?: string;
      readonly kind: string;
      readonly listKind?: string;
      readonly shortNames?: readonly string[];
      readonly categories?: readonly string[];
    };
    readonly versions: readonly {
      readonly name: string;
      readonly served: boolean;
      readonly storage: boolean;
      readonly subresources?: { readonly status?: object };
      readonly additionalPrinterColumns?: readonly PrinterColumn[];
      readonly schema?: { readonly openAPIV3Schema?: JsonSchema };
    }[];
  };
}

/** What a schema cannot express about a kind, given beside its CRD. */
export type DefinitionHooks = Pick<
  ResourceDefinition,
  'admit' | 'prepare' | 'selectableFields' | 'selectableFieldNames'
>;

/**
 * The definition of a custom resource from its CRD manifest.
 *
 * @throws InvalidInputError when the manifest serves no version or more than one: there is no conversion here.
 */
export function definitionOfCrd(crd: CustomResourceDefinition, hooks: DefinitionHooks = {}): ResourceDefinition {
  const served = crd.spec.versions.filter((version) => version.served);
  const version = served[0];
  if (version === undefined || served.length !== 1) {
    throw new InvalidInputError([
      { path: 'spec.versions', message: `${crd.metadata.name}: expected one served version, found ${served.length}` },
    ]);
  }
  const { names } = crd.spec;
  return {
    group: crd.spec.group,
    version: version.name,
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    kind: names.kind,
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    scope: crd.spec.scope === 'Cluster' ? 'Cluster' : 'Namespaced',
    schema: version.schema?.openAPIV3Schema ?? { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    printerColumns: version.additionalPrinterColumns ?? [],
    statusSubresource: version.subresources?.status !== undefined,
    hasGeneration: true,
    ...hooks,
  };
}
