import type { Cause } from '../http/api-error.ts';
import type { JsonObject, JsonSchema } from '../schema/json-schema.ts';

/** A column of `kubectl get`, as in a CRD's additionalPrinterColumns. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: string;
  readonly format?: string;
  readonly description?: string;
  /** 0 is always shown, others with `-o wide`. */
  readonly priority?: number;
  readonly jsonPath: string;
}

/** Reads other objects during admission: what the next write will meet. */
export interface AdmissionReader {
  /** The object, or undefined. `resource` as `virtualdisks.virtctl.dev`. */
  readonly get: (resource: string, namespace: string, name: string) => JsonObject | undefined;
  /**
   * The objects of a namespace (of all of them when it is empty) whose JSON contains `text`: a quick way to those that may
   * refer to something.
   */
  readonly mentioning: (resource: string, namespace: string, text: string) => JsonObject[];
}

/** A write that a definition's admission hook looks at. */
export interface AdmissionRequest {
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE';
  /** `status`, or empty for the object itself. */
  readonly subresource: string;
  /** The object after defaulting; of a deletion the stored one. */
  readonly object: JsonObject;
  readonly old: JsonObject | undefined;
  readonly read: AdmissionReader;
  /** Tells the client something that is not refused. */
  readonly warn: (message: string) => void;
}

/** How objects are shown in another group version than they are stored in. */
export interface Conversion {
  /** The definition that stores them, as `events`. */
  readonly storage: string;
  readonly toStorage: (object: JsonObject) => JsonObject;
  readonly fromStorage: (object: JsonObject) => JsonObject;
}

/** One resource that the server serves. */
export interface ResourceDefinition {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly scope: 'Namespaced' | 'Cluster';
  readonly schema: JsonSchema;
  readonly printerColumns: readonly PrinterColumn[];
  readonly statusSubresource: boolean;
  /**
   * A kind of Kubernetes' own: strategic merge patches are taken, an update may leave out the resource version, and
   * lists leave out the items' kind.
   */
  readonly builtIn?: boolean;
  /** Whether an update of an object that does not exist creates it, as for Leases and Events. */
  readonly createOnUpdate?: boolean;
  /** Whether metadata.generation is kept; always so for custom resources. */
  readonly hasGeneration?: boolean;
  /** Values of the fields that field selectors may name, beside metadata.name and metadata.namespace. */
  readonly selectableFields?: (object: JsonObject) => Record<string, string>;
  /** Their names. */
  readonly selectableFieldNames?: readonly string[];
  /** Fills in what a new or changed object leaves out; changes the object in place. */
  readonly prepare?: (object: JsonObject, old: JsonObject | undefined) => void;
  /** What a schema cannot say: references, immutable fields. Causes reject the write with 422. */
  readonly admit?: (request: AdmissionRequest) => readonly Cause[];
  /** The cells of a table's row, where printer columns do not suffice. Beside the name; in the columns' order. */
  readonly cells?: (object: JsonObject, now: number) => unknown[];
  readonly conversion?: Conversion;
  /** DNS label (a namespace) instead of DNS subdomain as the name. */
  readonly nameIsLabel?: boolean;
  /** The name of the Go package in OpenAPI definitions of built-in kinds, as `io.k8s.api.core.v1`. */
  readonly openApiPackage?: string;
}

/** `example.com/v1`, or `v1`. */
export function apiVersionOf(definition: ResourceDefinition): string {
  return definition.group === '' ? definition.version : `${definition.group}/${definition.version}`;
}

/** The key of a resource in the store: `widgets.example.com`, `configmaps`. */
export function resourceKey(definition: ResourceDefinition): string {
  if (definition.conversion !== undefined) return definition.conversion.storage;
  return definition.group === '' ? definition.plural : `${definition.plural}.${definition.group}`;
}
