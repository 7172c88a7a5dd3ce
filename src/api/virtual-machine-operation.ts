/**
 * VirtualMachineOperation: one verb on one machine, once. Its spec never changes; the executor of the machine's node
 * does it step by step, and writes each step to status before it begins, so that a crash neither loses nor repeats one.
 *
 *   Pending ──▶ Running(step…) ──▶ Succeeded | Failed ──ttl──▶ deleted
 */
import type { Resource } from './meta.ts';
import { conditions, observedGeneration } from './meta.ts';
import {
  boolean,
  integer,
  list,
  longInteger,
  map,
  object,
  objectName,
  string,
  time,
  words,
  type Value,
} from './schema.ts';

/** The verbs. */
export const operationVerbs = [
  'Start',
  'Stop',
  'Restart',
  'Reset',
  'Pause',
  'Unpause',
  'Save',
  'SoftReboot',
  'SendKey',
  'InjectNMI',
  'SetUserPassword',
  'Revert',
  'Migrate',
] as const;

/** A verb. */
export type OperationVerb = (typeof operationVerbs)[number];

/** The member of spec that carries a verb's parameters; verbs that are not here have none. */
export const verbParameters: Readonly<Partial<Record<OperationVerb, string>>> = {
  Start: 'start',
  Stop: 'stop',
  Restart: 'restart',
  Save: 'save',
  SendKey: 'sendKey',
  SetUserPassword: 'setUserPassword',
  Revert: 'revert',
  Migrate: 'migrate',
};

/** Verbs whose parameters cannot be left out. */
export const verbsThatNeedParameters: readonly OperationVerb[] = ['SendKey', 'SetUserPassword', 'Revert'];

/** libvirt's keycode sets (virKeycodeSet). */
export const keyCodeSets = [
  'linux',
  'xt',
  'atset1',
  'atset2',
  'atset3',
  'osx',
  'xt_kbd',
  'usb',
  'win32',
  'qnum',
] as const;

const force = boolean('Whether it is powered off without asking the guest. false when left out.');
const grace = longInteger(
  "Seconds the guest has for shutting down; the machine's terminationGracePeriodSeconds when left out.",
  { min: 0, max: 31536000 },
);

/** The schema of a VirtualMachineOperation's spec. */
export const virtualMachineOperationSpec = object(
  'What is to be done. It cannot be changed.',
  {
    virtualMachine: objectName('The VirtualMachine of this namespace.'),
    verb: words('What to do.', operationVerbs),
  },
  {
    ttlSecondsAfterFinished: longInteger('Seconds after which it is deleted once it is over; 3600 when left out.', {
      min: 0,
    }),
    activeDeadlineSeconds: longInteger(
      'Seconds after its start when it is given up as failed; no limit when left out.',
      {
        min: 1,
      },
    ),
    start: object(
      'For the verb Start.',
      {},
      {
        paused: boolean('Whether its CPUs stay paused. false when left out.'),
        discardSavedState: boolean('Whether a saved state is thrown away and the guest boots. false when left out.'),
      },
    ),
    stop: object('For the verb Stop.', {}, { force, gracePeriodSeconds: grace }),
    restart: object(
      'For the verb Restart: off and on again, so that changes that need it take effect.',
      {},
      { force, gracePeriodSeconds: grace, paused: boolean('Whether its CPUs stay paused after. false when left out.') },
    ),
    save: object(
      'For the verb Save: memory to disk, and off.',
      {},
      { bypassCache: boolean("Whether the node's page cache is passed by. false when left out.") },
    ),
    sendKey: object(
      'For the verb SendKey: keys that are pressed together.',
      {
        keys: list('Key names as KEY_LEFTCTRL (code set linux), or numbers of the code set.', string('A key.'), {
          minItems: 1,
          maxItems: 16,
        }),
      },
      {
        codeSet: words('What the keys mean. linux when left out.', keyCodeSets),
        holdMilliseconds: integer('Milliseconds for which they are held; 100 when left out.', { min: 0, max: 600000 }),
      },
    ),
    setUserPassword: object(
      "For the verb SetUserPassword, through the guest's agent.",
      {
        user: string('The user in the guest.', { minLength: 1, maxLength: 256 }),
        secretRef: object(
          'The Secret of this namespace that holds the password.',
          { name: objectName("The Secret's name.") },
          { key: string('The key in it; password when left out.', { minLength: 1, maxLength: 253 }) },
        ),
      },
      { encrypted: boolean('Whether it is hashed already, as in /etc/shadow. false when left out.') },
    ),
    revert: object(
      'For the verb Revert: back to a snapshot.',
      { snapshot: objectName('The VirtualMachineSnapshot of this namespace.') },
      {
        powerState: words('Its state after. AsSnapshot, the state it had at the snapshot, when left out.', [
          'AsSnapshot',
          'Running',
          'Paused',
          'Stopped',
        ]),
        restoreSpec: boolean(
          "Whether the machine's domain, volumes, interfaces and overlay become those of the snapshot. false when left " +
            'out: where they differ it is refused.',
        ),
        force: boolean(
          "Whether a machine whose spec differs from the snapshot's keeps its own: its disks go back, and it boots " +
            'instead of going on from the memory that was kept. false when left out.',
        ),
      },
    ),
    migrate: object(
      'For the verb Migrate: to another node.',
      {},
      {
        nodeName: string('The target; chosen by the scheduler when left out.', { maxLength: 253 }),
        copyStorage: words(
          'Which disks on local storage are copied. Auto, when left out: what was made for the machine, and files of the ' +
            'host. All: VirtualDisks in a pool of the node too, and images with what they are based on. Incremental: as All, ' +
            'with only the top of images. None: all nodes have them.',
          ['Auto', 'None', 'All', 'Incremental'],
        ),
        postCopy: boolean('Whether it may go on at the target before all memory is there. false when left out.'),
        autoConverge: boolean('Whether the guest may be slowed down so that it ends. false when left out.'),
        bandwidthMiBPerSecond: longInteger('The most it may use, in MiB per second; no limit when left out.', {
          min: 1,
        }),
        maxDowntimeMilliseconds: longInteger("The longest pause, in milliseconds; libvirt's choice when left out.", {
          min: 1,
        }),
        timeoutSeconds: longInteger('Seconds after which it is given up and the guest stays; no limit when left out.', {
          min: 1,
        }),
        parallelConnections: integer('Connections that carry memory; one when left out.', { min: 1, max: 255 }),
        compression: words('How memory is compressed; not at all when left out.', ['mt', 'xbzrle', 'zlib', 'zstd']),
      },
    ),
  },
);

/** How far an operation can be. */
export const operationPhases = ['Pending', 'Running', 'Succeeded', 'Failed'] as const;

/** The schema of a VirtualMachineOperation's status. */
export const virtualMachineOperationStatus = object(
  'How far it is; written by the executor.',
  {},
  {
    observedGeneration,
    phase: words('How far it is.', operationPhases),
    step: string('The step that goes on or, when it is over, was the last.'),
    context: map('What was noted before the step, so that a repeat can tell whether it happened.', string('A value.')),
    nodeName: string('The node that does it.'),
    startTime: time('When it began.'),
    stepTime: time('When the step began.'),
    completionTime: time('When it was over.'),
    percent: integer('Part that is done, in percent, where it is known.', { min: 0, max: 100 }),
    reason: string('Why it failed, as one stable word in CamelCase.'),
    message: string("What happened, in words: libvirt's own where it has any."),
    conditions,
  },
);

/** What is to be done. */
export type VirtualMachineOperationSpec = Value<typeof virtualMachineOperationSpec>;
/** How far it is. */
export type VirtualMachineOperationStatus = Value<typeof virtualMachineOperationStatus>;
/** A verb on a machine, once. */
export type VirtualMachineOperation = Resource<
  'VirtualMachineOperation',
  VirtualMachineOperationSpec,
  VirtualMachineOperationStatus
>;

/** The types of a VirtualMachineOperation's conditions. */
export const virtualMachineOperationConditions = {
  /** It is over, and it worked. */
  Complete: 'Complete',
  /** It is over, and it did not. */
  Failed: 'Failed',
} as const;

/** The reasons of a VirtualMachineOperation's failure. */
export const virtualMachineOperationReasons = {
  Done: 'Done',
  MachineNotFound: 'MachineNotFound',
  MachineReplaced: 'MachineReplaced',
  NotRunning: 'NotRunning',
  AlreadyRunning: 'AlreadyRunning',
  RunStrategyForbids: 'RunStrategyForbids',
  AgentUnavailable: 'AgentUnavailable',
  SecretNotFound: 'SecretNotFound',
  SnapshotNotReady: 'SnapshotNotReady',
  SpecDiffers: 'SpecDiffers',
  SpecForbidden: 'SpecForbidden',
  OutOfSpace: 'OutOfSpace',
  LibvirtError: 'LibvirtError',
  DeadlineExceeded: 'DeadlineExceeded',
  Unsupported: 'Unsupported',
  NodeLost: 'NodeLost',
  TargetRefused: 'TargetRefused',
  TargetUnreachable: 'TargetUnreachable',
  StorageNotShared: 'StorageNotShared',
  MigrationFailed: 'MigrationFailed',
  Aborted: 'Aborted',
} as const;

/** Whether a migration takes disks in pools of the node along, by its `spec.migrate.copyStorage`. */
export function copiesPools(copyStorage: string | undefined): boolean {
  return copyStorage === 'All' || copyStorage === 'Incremental';
}
