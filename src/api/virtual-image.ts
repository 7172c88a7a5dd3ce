/** VirtualImage: a base image in a pool, read-only: from a URL with its checksum, a file, an upload, or a disk. */
import type { Resource } from './meta.ts';
import { conditions, observedGeneration } from './meta.ts';
import { nodesSelector } from './scheduling.ts';
import { boolean, list, object, objectName, quantity, string, time, words, type Value } from './schema.ts';
import { progress } from './virtual-disk.ts';

/** The members of spec.source of which exactly one is set. */
export const imageSources = ['http', 'file', 'upload', 'disk'] as const;

/** The formats an image can arrive in. */
export const imageFormats = ['qcow2', 'raw', 'vmdk', 'vdi', 'vhdx', 'vpc', 'iso'] as const;

const checksum = {
  pattern: '^(sha256:[0-9a-fA-F]{64}|sha512:[0-9a-fA-F]{128}|none)$',
  expected: 'sha256:<64 hexadecimal digits>, sha512:<128 hexadecimal digits>, or none to waive it',
};

/** The schema of a VirtualImage's spec. */
export const virtualImageSpec = object(
  'What is wanted.',
  {
    source: object(
      'Where it comes from. Exactly one of ' + imageSources.join(', ') + '. It cannot be changed.',
      {},
      {
        http: object(
          'A web server.',
          {
            url: string('An http or https URL.', { pattern: '^https?://', expected: 'an http or https URL' }),
            checksum: string('Of the file as it is served: sha256:…, sha512:…, or none to waive it.', checksum),
          },
          {
            caSecretRef: object('A Secret of this namespace with the key ca.crt: whom to trust beside the system.', {
              name: objectName("The Secret's name."),
            }),
            clientCertificateSecretRef: object('A Secret of this namespace of type kubernetes.io/tls: who we are.', {
              name: objectName("The Secret's name."),
            }),
            headersSecretRef: object(
              'A Secret of this namespace whose keys are request headers, as Authorization; or one of type ' +
                'kubernetes.io/basic-auth. They go to the server of url only, not to where it redirects.',
              { name: objectName("The Secret's name.") },
            ),
          },
        ),
        file: object(
          'A file of a node, which is copied.',
          { path: string('Its absolute path.', { pattern: '^/', expected: 'an absolute path' }) },
          {
            nodeName: string('The node; required where there is more than one.'),
            checksum: string('As for http.', checksum),
          },
        ),
        upload: object('It is sent by virtctl image upload.', {}, { checksum: string('As for http.', checksum) }),
        disk: object('A VirtualDisk, which is copied.', { name: objectName('Its name in this namespace.') }),
      },
    ),
  },
  {
    pool: objectName('The VirtualPool it is in; default when left out. It cannot be changed.'),
    nodeSelector: nodesSelector,
    format: words('The format it is stored in. qcow2 when left out.', ['qcow2', 'raw']),
    sourceFormat: words('The format it arrives in; found out from its content when left out.', imageFormats),
    compression: words('How the file is compressed. auto, found out from its content, when left out.', [
      'auto',
      'none',
      'gz',
      'xz',
      'zst',
    ]),
    maxVirtualSize: quantity('An image whose disk is larger, in bytes, is refused; 2Ti when left out.'),
  },
);

/** How far an image can be. */
export const imagePhases = [
  'Pending',
  'WaitForUpload',
  'Downloading',
  'Converting',
  'Ready',
  'Deleting',
  'Failed',
] as const;

/** The schema of a VirtualImage's status. */
export const virtualImageStatus = object(
  'What is; written by the executor.',
  {},
  {
    observedGeneration,
    phase: words('How far it is, on the node that is furthest.', imagePhases),
    checksum: string('What was computed over the file as it arrived.'),
    sourceFormat: string('The format it arrived in.'),
    format: string('The format it is stored in.'),
    size: quantity('What it takes in the pool in bytes.'),
    virtualSize: quantity('The size of the disk in it in bytes.'),
    progress,
    nodes: list(
      'The nodes it is on.',
      object(
        'A node.',
        { nodeName: string('Its name; empty for a shared pool.') },
        {
          phase: words('How far it is there.', imagePhases),
          path: string('Where it is there.'),
          checksum: string('Of the volume there, as it is stored: what virtctl image download compares.'),
          progress,
          lastUpdateTime: time('When this was found out.'),
          message: string('Why it is not ready there.'),
        },
      ),
      { keys: ['nodeName'] },
    ),
    usedBy: list(
      'Who needs it.',
      object('A user.', { kind: string('VirtualDisk or VirtualMachine.'), name: string('Its name.') }),
    ),
    message: string('Why it is not ready.'),
    resumable: boolean('Whether a download that was cut off can go on where it was.'),
    conditions,
  },
);

/** What is wanted of an image. */
export type VirtualImageSpec = Value<typeof virtualImageSpec>;
/** What is known of an image. */
export type VirtualImageStatus = Value<typeof virtualImageStatus>;
/** A base image. */
export type VirtualImage = Resource<'VirtualImage', VirtualImageSpec, VirtualImageStatus>;

/** The types of a VirtualImage's conditions. */
export const virtualImageConditions = {
  /** It is there, on every node that is selected. */
  Ready: 'Ready',
  /** Its deletion waits for those who need it; only there once one did. */
  InUse: 'InUse',
} as const;

/** The reasons of a VirtualImage's conditions. */
export const virtualImageReasons = {
  Available: 'Available',
  WaitingForUpload: 'WaitingForUpload',
  Downloading: 'Downloading',
  Converting: 'Converting',
  ChecksumMismatch: 'ChecksumMismatch',
  DownloadFailed: 'DownloadFailed',
  UploadFailed: 'UploadFailed',
  UnsafeImage: 'UnsafeImage',
  UnknownFormat: 'UnknownFormat',
  OutOfSpace: 'OutOfSpace',
  PoolNotReady: 'PoolNotReady',
  SecretNotFound: 'SecretNotFound',
  SecretNotReady: 'SecretNotReady',
  SourceNotReady: 'SourceNotReady',
  DeleteFailed: 'DeleteFailed',
  /** What lies over it is not known: its pool cannot be looked through. */
  RefreshFailed: 'RefreshFailed',
  InUse: 'InUse',
  NotInUse: 'NotInUse',
} as const;
