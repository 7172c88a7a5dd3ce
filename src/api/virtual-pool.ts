/** VirtualPool: a libvirt storage pool, on the nodes it selects; each node's own, or one that all share. */
import type { Resource } from './meta.ts';
import { conditions, observedGeneration, overlay } from './meta.ts';
import { nodesSelector } from './scheduling.ts';
import {
  boolean,
  document,
  integer,
  list,
  longInteger,
  object,
  objectName,
  quantity,
  string,
  time,
  words,
  type Value,
} from './schema.ts';
import type { StoragePool } from '../model/types.gen.ts';

/** The annotation that asks for a look at the volumes now: any text that was not there before, as the time. */
export const refreshAnnotation = 'virtctl.dev/refresh';

/** The annotation that has a pool with `active: false` stopped although guests run on what is in it: `true`. */
export const forceStopAnnotation = 'virtctl.dev/force-stop';

/** The schema of a VirtualPool's spec. */
export const virtualPoolSpec = object(
  'What is wanted.',
  {},
  {
    nodeSelector: nodesSelector,
    shared: boolean(
      'Whether all nodes see the same volumes in it (NFS, Ceph, iSCSI …). false when left out: each node has its own.',
    ),
    autostart: boolean('Whether libvirt starts it with the node. true when left out.'),
    active: boolean('Whether it is started; it is not stopped while guests run on what is in it. true when left out.'),
    build: words(
      'Whether what it is made of (folder, file system, volume group) is made. IfMissing never overwrites; Overwrite ' +
        'does, once. IfMissing when left out.',
      ['Never', 'IfMissing', 'Overwrite'],
    ),
    reclaimPolicy: words('What deleting the object does to what the pool is made of.', ['Retain', 'Delete'], {
      default: 'Retain',
    }),
    driftPolicy: words(
      'What happens when somebody changes it behind our back. Enforce: what spec sets is restored. Report: it is only ' +
        'told in status.',
      ['Enforce', 'Report'],
      { default: 'Enforce' },
    ),
    refreshIntervalSeconds: longInteger('Seconds after which its volumes are looked at afresh; 300 when left out.', {
      min: 5,
    }),
    authSecretRef: object(
      "A Secret with the password of the pool's source (rbd, iscsi, iscsi-direct), which becomes a secret of libvirt on " +
        'each node. The user is spec.pool.source.auth.username, or the key username of the Secret.',
      { namespace: objectName("The Secret's namespace."), name: objectName("The Secret's name.") },
      { key: string('The key in it; password when left out.', { minLength: 1 }) },
    ),
    pool: document<StoragePool>(
      "libvirt's storage pool, all of it (https://libvirt.org/formatstorage.html).",
      'storagepool',
    ),
    overlay,
  },
);

/** The schema of a VirtualPool's status. */
export const virtualPoolStatus = object(
  'What is; written by the executors, each its node.',
  {},
  {
    observedGeneration,
    summary: string('On how many nodes it is ready, of how many: 3/3.'),
    capacity: quantity('Its size in bytes; of all nodes together where each has its own.'),
    available: quantity('What is free in bytes; of all nodes together where each has its own.'),
    nodes: list(
      'The nodes it is on.',
      object(
        'A node.',
        { nodeName: string('Its name.') },
        {
          state: string(
            "libvirt's state: inactive, building, running, degraded, inaccessible; absent when not defined.",
          ),
          uuid: string("The pool's UUID there."),
          path: string('Where its volumes are.'),
          capacity: quantity('Its size in bytes.'),
          allocation: quantity('What is taken in bytes.'),
          available: quantity('What is free in bytes.'),
          volumes: integer('How many volumes are in it.', { min: 0 }),
          observedGeneration: longInteger('The metadata.generation that is in effect there.', { min: 0 }),
          refreshedFor: string('The annotation virtctl.dev/refresh that was heeded there last.'),
          lastUpdateTime: time('When this was found out.'),
          message: string("Why it is not ready, in libvirt's words."),
        },
      ),
      { keys: ['nodeName'] },
    ),
    usedBy: integer('How many VirtualDisks and VirtualImages are in it.', { min: 0 }),
    conditions,
  },
);

/** What is wanted of a pool. */
export type VirtualPoolSpec = Value<typeof virtualPoolSpec>;
/** What is known of a pool. */
export type VirtualPoolStatus = Value<typeof virtualPoolStatus>;
/** A storage pool. */
export type VirtualPool = Resource<'VirtualPool', VirtualPoolSpec, VirtualPoolStatus>;

/** The types of a VirtualPool's conditions. */
export const virtualPoolConditions = {
  /** It runs on every node that is selected. */
  Ready: 'Ready',
  /** It is as spec says on every node. */
  Synchronized: 'Synchronized',
  /** Deleting or stopping it waits: something is in it, or runs on it. */
  InUse: 'InUse',
} as const;

/** The reasons of a VirtualPool's conditions. */
export const virtualPoolReasons = {
  Running: 'Running',
  NoNodes: 'NoNodes',
  NotOnAllNodes: 'NotOnAllNodes',
  DefineFailed: 'DefineFailed',
  SecretNotFound: 'SecretNotFound',
  SecretNotReady: 'SecretNotReady',
  BuildFailed: 'BuildFailed',
  StartFailed: 'StartFailed',
  InSync: 'InSync',
  Drifted: 'Drifted',
  InUse: 'InUse',
  NotInUse: 'NotInUse',
} as const;
