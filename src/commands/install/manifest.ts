import type { ObjectMeta } from '../../api/meta.ts';

/** Our API group. */
export { group } from '../../api/meta.ts';
/** The namespace of the control plane's own objects; the controller's and the scheduler's leases are there. */
export const systemNamespace = 'virtctl-system';

/** Any object that an installation has. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly [key: string]: unknown;
}
