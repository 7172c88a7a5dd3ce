/** What every object of the Kubernetes API carries (k8s.io/apimachinery/pkg/apis/meta/v1). */
import { list, longInteger, map, object, string, time, words, type Value } from './schema.ts';

/** Our API group. */
export const group = 'virtctl.dev';
/** Our only version. */
export const version = 'v1alpha1';
/** What stands in `apiVersion`. */
export const apiVersion = `${group}/${version}`;

/** metav1.OwnerReference. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean | undefined;
  readonly blockOwnerDeletion?: boolean | undefined;
}

/** metav1.ObjectMeta. */
export interface ObjectMeta {
  readonly name?: string | undefined;
  readonly generateName?: string | undefined;
  readonly namespace?: string | undefined;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly generation?: number | undefined;
  readonly creationTimestamp?: string | null | undefined;
  readonly deletionTimestamp?: string | null | undefined;
  readonly deletionGracePeriodSeconds?: number | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly ownerReferences?: readonly OwnerReference[] | undefined;
  readonly finalizers?: readonly string[] | undefined;
  readonly managedFields?: readonly unknown[] | undefined;
  readonly selfLink?: string | undefined;
  readonly clusterName?: string | undefined;
}

/** Any object of the API. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** An object with spec and status. */
export interface Resource<Kind extends string, Spec, Status> extends KubeObject {
  readonly apiVersion: typeof apiVersion;
  readonly kind: Kind;
  readonly spec: Spec;
  readonly status?: Status | undefined;
}

/** metav1.ListMeta. */
export interface ListMeta {
  readonly resourceVersion?: string | undefined;
  readonly continue?: string | undefined;
  readonly remainingItemCount?: number | undefined;
}

/** A list of objects. */
export interface List<T extends KubeObject> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ListMeta;
  readonly items: readonly T[];
}

const condition = object(
  'One aspect of the state (metav1.Condition).',
  {
    type: string('What it is about, in CamelCase.', { minLength: 1, maxLength: 316 }),
    status: words('Whether it holds.', ['True', 'False', 'Unknown']),
  },
  {
    observedGeneration: longInteger('The metadata.generation it was found out for.', { min: 0 }),
    lastTransitionTime: time('When status last changed.'),
    reason: string('Why, as one stable word in CamelCase.', { maxLength: 1024 }),
    message: string("Why, in words: libvirt's own where it has any.", { maxLength: 32768 }),
  },
);

/** metav1.Condition. */
export type Condition = Value<typeof condition>;

/** The field status.conditions. */
export const conditions = list('The aspects of the state.', condition, { keys: ['type'] });

/** The field status.observedGeneration. */
export const observedGeneration = longInteger('The metadata.generation that this status describes.', { min: 0 });

/** The condition of a type, if there is one. */
export function findCondition(
  status: { readonly conditions?: readonly Condition[] | undefined } | undefined,
  type: string,
): Condition | undefined {
  return status?.conditions?.find((one) => one.type === type);
}

/** One entry of `spec.overlay`. */
const overlayEntry = object(
  'Something that the schema does not know, put into the XML at a place.',
  {
    at: string(
      'The element it belongs to, as a path of keys below the document, list entries by their index: ' +
        'devices.disk[0].driver. Empty for the root element.',
      { maxLength: 1024 },
    ),
  },
  {
    xml: string('Raw XML that is added at the end of the element.', { minLength: 1 }),
    attributes: map('Attributes that are set on the element.', string("The attribute's value.")),
  },
);

/** The field spec.overlay. */
export const overlay = list(
  'What the schema does not know: each entry adds an XML element or attributes at a place of the document. ' +
    'Exactly one of xml and attributes.',
  overlayEntry,
  { maxItems: 1024 },
);

/** One entry of `spec.overlay`. */
export type OverlayEntry = Value<typeof overlayEntry>;
