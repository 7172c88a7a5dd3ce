import { toJsonSchema, type JsonSchema } from './json-schema.ts';
import { category, type KindInfo } from './kinds.ts';
import { group, version } from './meta.ts';
import { schemas } from './schemas.ts';

/** A CustomResourceDefinition (apiextensions.k8s.io/v1), as far as we write it. */
export interface CustomResourceDefinition {
  readonly apiVersion: 'apiextensions.k8s.io/v1';
  readonly kind: 'CustomResourceDefinition';
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly group: string;
    readonly names: {
      readonly kind: string;
      readonly listKind: string;
      readonly plural: string;
      readonly singular: string;
      readonly shortNames: readonly string[];
      readonly categories: readonly string[];
    };
    readonly scope: 'Namespaced' | 'Cluster';
    readonly versions: readonly CrdVersion[];
  };
}

/** One version of a CustomResourceDefinition. */
export interface CrdVersion {
  readonly name: string;
  readonly served: boolean;
  readonly storage: boolean;
  readonly schema: { readonly openAPIV3Schema: JsonSchema };
  readonly subresources: { readonly status: Readonly<Record<string, never>> };
  readonly additionalPrinterColumns: readonly {
    readonly name: string;
    readonly type: string;
    readonly jsonPath: string;
    readonly description: string;
    readonly priority: number;
  }[];
}

/**
 * The CustomResourceDefinition of a kind, for any API server from Kubernetes 1.20 on. The large ones exceed what
 * client-side apply can annotate: install them by server-side apply.
 */
export function customResourceDefinition(info: KindInfo): CustomResourceDefinition {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${info.plural}.${group}`, labels: { 'app.kubernetes.io/part-of': 'virtctl' } },
    spec: {
      group,
      names: {
        kind: info.kind,
        listKind: `${info.kind}List`,
        plural: info.plural,
        singular: info.singular,
        shortNames: info.shortNames,
        categories: [category],
      },
      scope: info.namespaced ? 'Namespaced' : 'Cluster',
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: objectSchema(info) },
          subresources: { status: {} },
          additionalPrinterColumns: info.columns.map(({ name, type, jsonPath, description, priority }) => ({
            name,
            type,
            jsonPath,
            description,
            priority: priority ?? 0,
          })),
        },
      ],
    },
  };
}

/** The schema of a whole object of a kind. */
export function objectSchema(info: KindInfo): JsonSchema {
  const kind = schemas[info.kind];
  if (kind === undefined) throw new Error(`${info.kind} has no schema`);
  return {
    type: 'object',
    description: info.description,
    ...(kind.specRequired ? { required: ['spec'] } : {}),
    properties: {
      apiVersion: { type: 'string', description: `${group}/${version}` },
      kind: { type: 'string', description: info.kind },
      metadata: { type: 'object' },
      spec: toJsonSchema(kind.spec.node),
      status: toJsonSchema(kind.status.node),
    },
  };
}
