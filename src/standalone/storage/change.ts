/** An object as the store keeps it: its JSON, and what lists and watches select by, so that neither has to parse it. */
export interface StoredObject {
  /** The resource it is of, as `widgets.example.com`; core kinds have no dot. */
  readonly resource: string;
  /** `namespace/name`, or `name` of a cluster-wide object: the order of lists. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: number;
  readonly labels: Readonly<Record<string, string>>;
  /** The fields that a field selector may name, beside metadata.name and metadata.namespace. */
  readonly fields: Readonly<Record<string, string>>;
  /** UIDs of the owners, for garbage collection. */
  readonly owners: readonly string[];
  /** The whole object, UTF-8; starts with apiVersion and kind. */
  readonly json: Buffer;
}

/** A write of one object, before it has its resource version. */
export interface Change {
  readonly resource: string;
  readonly key: string;
  /**
   * The object with the resource version that it is given; undefined deletes. Called once, in the same turn as
   * the write that it is of.
   */
  readonly object: ((resourceVersion: number) => StoredObject) | undefined;
}

/** What happened to one object. */
export interface ChangeEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly resource: string;
  readonly key: string;
  readonly resourceVersion: number;
  /** The object after the change; of a deletion, before it. */
  readonly object: StoredObject;
  /** The object before the change. */
  readonly previous: StoredObject | undefined;
}
