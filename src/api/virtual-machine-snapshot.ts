/**
 * VirtualMachineSnapshot: a point in time of a machine: its disks, optionally its memory. With spec.schedule it is not
 * one itself but takes them by the clock, as a CronJob makes Jobs.
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
  time,
  words,
  type Value,
} from './schema.ts';
import type { DomainSnapshot } from '../model/types.gen.ts';

/** The label of the snapshots that a schedule took: the schedule's name. */
export const scheduleLabel = 'virtctl.dev/snapshot-schedule';

/** The schema of a VirtualMachineSnapshot's spec. */
export const virtualMachineSnapshotSpec = object(
  'What is wanted. Only ttlSeconds, retainPolicy and schedule can be changed.',
  { virtualMachine: objectName('The VirtualMachine of this namespace.') },
  {
    mode: words(
      'Where the old state is kept. Internal: in the disk itself. External: the disk is frozen, and a new file takes ' +
        'what is written from then on. Auto: as the snapshots that there are; else External for the disks alone of a ' +
        'running machine, and Internal where all disks and the firmware allow it.',
      ['Auto', 'Internal', 'External'],
      { default: 'Auto' },
    ),
    memory: boolean('Whether the memory of a running machine is kept too. false when left out.'),
    quiesce: words(
      "Whether the guest's file systems are frozen meanwhile, through its agent. Auto: if the agent answers.",
      ['Auto', 'Required', 'Never'],
      { default: 'Auto' },
    ),
    description: string('What it is for.', { maxLength: 4096 }),
    disks: list(
      'Only these disks, or some of them otherwise; all that can be when left out.',
      object(
        'A disk.',
        { name: string('The name in spec.volumes, or the device name as vda.', { minLength: 1 }) },
        {
          mode: words('As spec.mode, for this disk; None leaves it out.', ['Internal', 'External', 'None']),
          file: string('The file that takes what is written from then on, for External; chosen when left out.', {
            pattern: '^/',
            expected: 'an absolute path',
          }),
        },
      ),
      { keys: ['name'] },
    ),
    ttlSeconds: longInteger('Seconds after which it is deleted; never when left out.', { min: 1 }),
    retainPolicy: words(
      'What deleting the object does. Delete: its data is merged and freed. Retain: only the object goes.',
      ['Delete', 'Retain'],
      { default: 'Delete' },
    ),
    schedule: object(
      'Takes snapshots by the clock. They carry the label ' + scheduleLabel + ' with the name of this object.',
      {
        cron: string('When: minute hour day month weekday, as in crontab, or @hourly, @daily, @weekly.', {
          minLength: 1,
        }),
      },
      {
        timeZone: string('The time zone of cron, as Europe/Berlin; UTC when left out.', { minLength: 1 }),
        suspend: boolean('Whether none are taken for now. false when left out.'),
        keep: integer('How many are kept; older ones are deleted. 7 when left out.', { min: 1, max: 1000 }),
        keepSeconds: longInteger('Seconds for which each is kept at most; no limit when left out.', { min: 1 }),
        startingDeadlineSeconds: longInteger(
          'Seconds by which one may be late; it is left out when later. 300 when left out.',
          { min: 1 },
        ),
      },
    ),
    domainsnapshot: document<DomainSnapshot>(
      "Anything else of libvirt's snapshot, merged over what the other fields say " +
        '(https://libvirt.org/formatsnapshot.html).',
      'domainsnapshot',
    ),
    overlay,
  },
);

/** How far a snapshot can be. */
export const snapshotPhases = [
  'Pending',
  'InProgress',
  'Ready',
  'Scheduled',
  'Reverting',
  'Deleting',
  'Failed',
] as const;

/** The schema of a VirtualMachineSnapshot's status. */
export const virtualMachineSnapshotStatus = object(
  'What is; written by the executor.',
  {},
  {
    observedGeneration,
    phase: words('How far it is.', snapshotPhases),
    step: string('The step that goes on, so that it can be continued.'),
    nodeName: string('The node that took it.'),
    virtualMachineUID: string('The metadata.uid of the machine it is of.'),
    virtualMachineGeneration: longInteger("The machine's metadata.generation at that time.", { min: 0 }),
    name: string('Its name at libvirt.'),
    mode: words('What was done.', ['Internal', 'External', 'Mixed']),
    memory: boolean('Whether the memory is kept.'),
    quiesced: boolean("Whether the guest's file systems were frozen."),
    domainState: string('The state of the machine at that time: running, paused, shutoff.'),
    creationTime: time('The point in time.'),
    parent: string('The VirtualMachineSnapshot before it.'),
    current: boolean('Whether the machine goes on from it.'),
    size: quantity(
      'What it takes in bytes, where files tell it: the frozen files and that of the memory of an external one, the ' +
        'memory of an internal one.',
    ),
    notKept: list(
      'What of the machine it does not keep, and a revert leaves as it is then: NVRAM, the state of a TPM.',
      string('A part of the machine.'),
    ),
    disks: list(
      'Its disks.',
      object(
        'A disk.',
        { target: string('The device name, as vda.') },
        {
          name: string('The name in spec.volumes.'),
          mode: words('Where the old state is.', ['Internal', 'External', 'None']),
          path: string('The file with the old state.'),
          format: string('Its format.'),
          overlay: string('The file that took what was written from then on.'),
          size: quantity('What it takes in bytes.'),
          virtualDisk: string('The VirtualDisk it is of.'),
        },
      ),
      { keys: ['target'] },
    ),
    memoryFile: string('The file with the memory, where it is not in a disk.'),
    merges: list(
      'The files that are being merged.',
      object(
        'A file.',
        {
          target: string('The device name, as vda.'),
          from: string('The file that is merged, and goes.'),
          into: string('The file that it is merged into.'),
        },
        {
          stage: words('How far it is. Pivoting: the running machine goes over to into. Committed: into has it all.', [
            'Committing',
            'Pivoting',
            'Committed',
          ]),
        },
      ),
      { keys: ['target'] },
    ),
    percent: integer('Part of the merge that is done, in percent.', { min: 0, max: 100 }),
    lastScheduleTime: time('When the schedule took the last one.'),
    nextScheduleTime: time('When it takes the next one.'),
    message: string("Why it is not ready, in libvirt's words."),
    conditions,
  },
);

/** What is wanted of a snapshot. */
export type VirtualMachineSnapshotSpec = Value<typeof virtualMachineSnapshotSpec>;
/** What is known of a snapshot. */
export type VirtualMachineSnapshotStatus = Value<typeof virtualMachineSnapshotStatus>;
/** A point in time of a machine. */
export type VirtualMachineSnapshot = Resource<
  'VirtualMachineSnapshot',
  VirtualMachineSnapshotSpec,
  VirtualMachineSnapshotStatus
>;

/** The types of a VirtualMachineSnapshot's conditions. */
export const virtualMachineSnapshotConditions = {
  /** It can be reverted to. */
  Ready: 'Ready',
  /** It is being merged or reverted to. */
  Progressing: 'Progressing',
} as const;

/** The reasons of a VirtualMachineSnapshot's conditions. */
export const virtualMachineSnapshotReasons = {
  Taken: 'Taken',
  Scheduled: 'Scheduled',
  MachineNotFound: 'MachineNotFound',
  MachineNotReady: 'MachineNotReady',
  AgentUnavailable: 'AgentUnavailable',
  NotSupported: 'NotSupported',
  OutOfSpace: 'OutOfSpace',
  LibvirtError: 'LibvirtError',
  Taking: 'Taking',
  Merging: 'Merging',
  InUse: 'InUse',
  Reverting: 'Reverting',
  SnapshotMissing: 'SnapshotMissing',
  /** What lies over its files is not known: their pool cannot be looked through. */
  RefreshFailed: 'RefreshFailed',
} as const;
