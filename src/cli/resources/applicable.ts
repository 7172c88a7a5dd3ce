import type { KubeObject } from '../../kube/object.ts';

/** What `get -o yaml` shows beside what was written is not to be applied: server-side apply refuses it. */
export function applicable(object: KubeObject): KubeObject {
  const { status: _, ...rest } = object as KubeObject & { readonly status?: unknown };
  const {
    managedFields: _fields,
    resourceVersion: _version,
    uid: _uid,
    creationTimestamp: _created,
    generation: _generation,
    ...metadata
  } = object.metadata;
  return { ...rest, metadata };
}
