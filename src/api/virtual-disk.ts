/**
 * VirtualDisk: a libvirt volume. Blank, from an image, a clone, a snapshot's disk or an import; on a local pool it is
 * made on the node of the first machine that uses it.
 */
import type { Resource } from './meta.ts';
import { conditions, observedGeneration, overlay } from './meta.ts';
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
  words,
  type Value,
} from './schema.ts';
import type { StorageVolume } from '../model/types.gen.ts';

/** The members of spec.source of which at most one is set; none means a blank disk. */
export const diskSources = ['blank', 'image', 'clone', 'snapshot', 'import'] as const;

/** How a transfer goes on. */
export const progress = object(
  'How a transfer goes on.',
  {},
  {
    percent: integer('Part that is done, in percent.', { min: 0, max: 100 }),
    transferredBytes: longInteger('Bytes that are done.', { min: 0 }),
    totalBytes: longInteger('Bytes in all, where known.', { min: 0 }),
    bytesPerSecond: longInteger('The speed in bytes per second.', { min: 0 }),
  },
);

/** The schema of a VirtualDisk's spec. */
export const virtualDiskSpec = object(
  'What is wanted.',
  {},
  {
    pool: objectName('The VirtualPool it is in; default when left out. It cannot be changed.'),
    capacity: quantity(
      'Its size for the guest in bytes, as 10Gi. It can grow at any time. Required for a blank disk; the size of its ' +
        'source when left out.',
    ),
    allowShrink: boolean(
      'Whether a smaller capacity cuts the disk off, with what is stored there. false when left out: it is refused.',
    ),
    format: string('The format of the volume, as qcow2 or raw; qcow2 on pools of files, raw on others when left out.', {
      minLength: 1,
      maxLength: 32,
    }),
    preallocation: words("What is allocated when it is made, as qemu-img's preallocation. None when left out.", [
      'None',
      'Metadata',
      'Falloc',
      'Full',
    ]),
    source: object(
      'What is in it at first. At most one of ' + diskSources.join(', ') + '. It cannot be changed.',
      {},
      {
        blank: object('Nothing.', {}),
        image: object(
          'A VirtualImage.',
          { name: objectName('Its name in this namespace.') },
          {
            mode: words('Copy: all of it. Overlay: only what differs is stored. Copy when left out.', [
              'Copy',
              'Overlay',
            ]),
          },
        ),
        clone: object(
          'Another VirtualDisk.',
          { name: objectName('Its name in this namespace.') },
          {
            mode: words('Copy: all of it. Overlay: only what differs is stored. Copy when left out.', [
              'Copy',
              'Overlay',
            ]),
          },
        ),
        snapshot: object(
          'The disk of a VirtualMachineSnapshot.',
          {
            name: objectName("The snapshot's name in this namespace."),
            volume: string(
              'Which of its disks: the name in the spec.volumes of the machine, or the device name as vda.',
              {
                minLength: 1,
              },
            ),
          },
          {
            mode: words(
              'Copy: all of it. Overlay: only what differs is stored, and the snapshot stays until this disk is gone. ' +
                'Copy when left out.',
              ['Copy', 'Overlay'],
            ),
          },
        ),
        import: object(
          'What exists on the node. Exactly one of volume and path.',
          {},
          {
            volume: string('A volume of the pool, which becomes this disk without a copy.', { minLength: 1 }),
            path: string('A file or block device of the node, which is copied.', {
              pattern: '^/',
              expected: 'an absolute path',
            }),
            format: string('The format of path; found out when left out.', { minLength: 1, maxLength: 32 }),
          },
        ),
      },
    ),
    encryption: object('Encrypts the volume with LUKS; raw and qcow2 only. It cannot be changed.', {
      secretRef: object(
        'The Secret of this namespace with the passphrase, which is taken as it is, line break at its end included.',
        { name: objectName('Its name.') },
        { key: string('The key in it; passphrase when left out.', { minLength: 1 }) },
      ),
    }),
    bindingMode: words(
      'When it is made on a pool that each node has for itself. WaitForFirstConsumer: where the first machine that uses ' +
        'it is placed. Immediate: at once on nodeName.',
      ['WaitForFirstConsumer', 'Immediate'],
      { default: 'WaitForFirstConsumer' },
    ),
    nodeName: string(
      'The Hypervisor on whose local pool it is made. Written once: a migration that takes the disk with it changes ' +
        'status.nodeName only.',
      { maxLength: 253 },
    ),
    reclaimPolicy: words('What deleting the object does to the volume.', ['Delete', 'Retain'], { default: 'Delete' }),
    wipe: words("How the volume is overwritten before it is deleted: virsh vol-wipe's algorithms. Not when left out.", [
      'zero',
      'nnsa',
      'dod',
      'bsi',
      'gutmann',
      'schneier',
      'pfitzner7',
      'pfitzner33',
      'random',
      'trim',
    ]),
    volume: document<StorageVolume>(
      "Anything else of libvirt's volume, merged over what the other fields say " +
        '(https://libvirt.org/formatstorage.html#storage-volume-xml).',
      'storagevol',
    ),
    overlay,
  },
);

/** How far a disk can be. */
export const diskPhases = [
  'Pending',
  'WaitForFirstConsumer',
  'Creating',
  'Ready',
  'Resizing',
  'Wiping',
  'Deleting',
  'Failed',
] as const;

/** The schema of a VirtualDisk's status. */
export const virtualDiskStatus = object(
  'What is; written by the executor.',
  {},
  {
    observedGeneration,
    phase: words('How far it is.', diskPhases),
    nodeName: string(
      'The node on which it is, also when spec.nodeName names the one where it was made; empty on a shared pool.',
    ),
    pool: string("The pool's name at libvirt."),
    volume: string("The volume's name at libvirt."),
    key: string("The volume's key at libvirt."),
    path: string('Where it is on the node.'),
    format: string('The format it has.'),
    capacity: quantity('Its size for the guest in bytes.'),
    allocation: quantity('What it takes in the pool in bytes.'),
    backingChain: list('What it is an overlay of, nearest first.', string('A path.')),
    usedBy: list(
      'Who uses it.',
      object(
        'A user.',
        { kind: string('VirtualMachine, VirtualDisk or VirtualMachineSnapshot.'), name: string('Its name.') },
        { readOnly: boolean('Whether it only reads.'), target: string('The device name, as vda.') },
      ),
    ),
    move: object(
      'A second volume of it, on another node, while a migration copies the disk and shortly after. Nothing else is copied ' +
        'from or to it before that volume is gone.',
      {
        nodeName: string('The node that has the volume, and removes it.'),
        state: words(
          'Copying: the volume that is copied to; when the migration has failed it goes. Left: the one that the disk was; it ' +
            'goes when the migration is over.',
          ['Copying', 'Left'],
        ),
        operation: string('The VirtualMachineOperation of this namespace that copies it.'),
        operationUid: string("That operation's metadata.uid."),
        pool: string("The pool's name at libvirt there."),
        volume: string("The volume's name at libvirt there."),
        path: string('Where it is there.'),
      },
    ),
    progress,
    message: string("Why it is not ready, in libvirt's words."),
    conditions,
  },
);

/** How a transfer goes on. */
export type Progress = Value<typeof progress>;
/** What is wanted of a disk. */
export type VirtualDiskSpec = Value<typeof virtualDiskSpec>;
/** What is known of a disk. */
export type VirtualDiskStatus = Value<typeof virtualDiskStatus>;
/** A second volume of a disk. */
export type DiskMove = NonNullable<VirtualDiskStatus['move']>;
/** A disk. */
export type VirtualDisk = Resource<'VirtualDisk', VirtualDiskSpec, VirtualDiskStatus>;

/** The types of a VirtualDisk's conditions. */
export const virtualDiskConditions = {
  /** The volume is there and as spec says. */
  Ready: 'Ready',
  /** Somebody uses it. */
  InUse: 'InUse',
  /** Its size changes. */
  Resizing: 'Resizing',
} as const;

/** The reasons of a VirtualDisk's conditions. */
export const virtualDiskReasons = {
  Available: 'Available',
  WaitingForConsumer: 'WaitingForConsumer',
  SourceNotReady: 'SourceNotReady',
  PoolNotReady: 'PoolNotReady',
  Creating: 'Creating',
  CreateFailed: 'CreateFailed',
  OutOfSpace: 'OutOfSpace',
  ShrinkRefused: 'ShrinkRefused',
  ResizeFailed: 'ResizeFailed',
  InUse: 'InUse',
  NotInUse: 'NotInUse',
  VolumeMissing: 'VolumeMissing',
  /** What lies over it is not known: its pool cannot be looked through. */
  RefreshFailed: 'RefreshFailed',
  SecretNotFound: 'SecretNotFound',
  SecretNotReady: 'SecretNotReady',
} as const;
