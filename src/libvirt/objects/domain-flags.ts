/**
 * The flags of libvirt's domain functions as options. The numbers are libvirt's ABI (libvirt-domain.h); each table
 * says which enumeration it is, and a test holds them against libvirt's own constants.
 */
import type { FlagTable } from './flags.ts';

/** virConnectListAllDomainsFlags. */
export const listDomainsFlags = {
  active: 1,
  inactive: 2,
  persistent: 4,
  transient: 8,
  running: 16,
  paused: 32,
  shutoff: 64,
  other: 128,
  managedsave: 256,
  noManagedsave: 512,
  autostart: 1024,
  noAutostart: 2048,
  hasSnapshot: 4096,
  noSnapshot: 8192,
  hasCheckpoint: 16384,
  noCheckpoint: 32768,
} as const;

/** virConnectGetAllDomainStatsFlags. */
export const statsFlags = {
  active: 1,
  inactive: 2,
  persistent: 4,
  transient: 8,
  running: 16,
  paused: 32,
  shutoff: 64,
  other: 128,
  /** Leaves out what would have to wait for a busy monitor. */
  nowait: 0x2000_0000,
  backing: 0x4000_0000,
  /** An error for a group that the driver does not have, instead of leaving it out. */
  enforceStats: 0x8000_0000,
} as const;

/** virDomainXMLFlags. */
export const xmlFlags = { secure: 1, inactive: 2, updateCpu: 4, migratable: 8 } as const;

/** virDomainDefineFlags. */
export const defineFlags = { validate: 1 } as const;

/** virDomainCreateFlags. */
export const startFlags = {
  paused: 1,
  autodestroy: 2,
  bypassCache: 4,
  forceBoot: 8,
  validate: 16,
  resetNvram: 32,
} as const;

/** virDomainShutdownFlagValues and virDomainRebootFlagValues. None lets the driver choose. */
export const shutdownFlags = { acpiPowerBtn: 1, guestAgent: 2, initctl: 4, signal: 8, paravirt: 16 } as const;

/** virDomainDestroyFlagsValues. */
export const destroyFlags = { graceful: 1, removeLogs: 2 } as const;

/** virDomainUndefineFlagsValues. */
export const undefineFlags = {
  managedSave: 1,
  snapshotsMetadata: 2,
  nvram: 4,
  keepNvram: 8,
  checkpointsMetadata: 16,
  tpm: 32,
  keepTpm: 64,
} as const;

/** virDomainSaveRestoreFlags. */
export const saveFlags = { bypassCache: 1, running: 2, paused: 4, resetNvram: 8 } as const;

/** virDomainDeviceModifyFlags. */
export const deviceFlags = { live: 1, config: 2, force: 4 } as const;

/** virDomainVcpuFlags. */
export const vcpuFlags = { live: 1, config: 2, maximum: 4, guest: 8, hotpluggable: 16 } as const;

/** virDomainMemoryModFlags. */
export const memoryFlags = { live: 1, config: 2, maximum: 4 } as const;

/** virDomainConsoleFlags. */
export const consoleFlags = { force: 1, safe: 2 } as const;

/** virDomainCoreDumpFlags. */
export const dumpFlags = { crash: 1, live: 2, bypassCache: 4, reset: 8, memoryOnly: 16 } as const;

/** virDomainGetJobStatsFlags. */
export const jobStatsFlags = { completed: 1, keepCompleted: 2 } as const;

/** virDomainSnapshotCreateFlags. */
export const snapshotCreateFlags = {
  redefine: 1,
  current: 2,
  noMetadata: 4,
  halt: 8,
  diskOnly: 16,
  reuseExt: 32,
  quiesce: 64,
  atomic: 128,
  live: 256,
  validate: 512,
} as const;

/** virDomainSnapshotListFlags. */
export const snapshotListFlags = {
  roots: 1,
  metadata: 2,
  leaves: 4,
  noLeaves: 8,
  noMetadata: 16,
  inactive: 32,
  active: 64,
  diskOnly: 128,
  internal: 256,
  external: 512,
  topological: 1024,
} as const;

/** virDomainSnapshotRevertFlags. */
export const revertFlags = { running: 1, paused: 2, force: 4, resetNvram: 8 } as const;

/** virDomainSnapshotDeleteFlags and virDomainCheckpointDeleteFlags. */
export const deletePointFlags = { children: 1, metadataOnly: 2, childrenOnly: 4 } as const;

/** virDomainCheckpointCreateFlags. */
export const checkpointCreateFlags = { redefine: 1, quiesce: 2, redefineValidate: 4 } as const;

/** virDomainCheckpointListFlags. */
export const checkpointListFlags = { roots: 1, topological: 2, leaves: 4, noLeaves: 8 } as const;

/** virDomainCheckpointXMLFlags. */
export const checkpointXmlFlags = { secure: 1, noDomain: 2, size: 4 } as const;

/** virDomainBackupBeginFlags. */
export const backupFlags = { reuseExternal: 1 } as const;

/** virDomainBlockJobAbortFlags. */
export const blockAbortFlags = { async: 1, pivot: 2 } as const;

/** virDomainBlockCommitFlags. */
export const blockCommitFlags = { shallow: 1, delete: 2, active: 4, relative: 8, bandwidthBytes: 16 } as const;

/** virDomainBlockCopyFlags. */
export const blockCopyFlags = { shallow: 1, reuseExt: 2, transientJob: 4, synchronousWrites: 8 } as const;

/** virDomainMigrateFlags. */
export const migrateFlags = {
  live: 1,
  peer2peer: 2,
  tunnelled: 4,
  persistDest: 8,
  undefineSource: 16,
  paused: 32,
  nonSharedDisk: 64,
  nonSharedInc: 128,
  changeProtection: 256,
  unsafe: 512,
  offline: 1024,
  compressed: 2048,
  abortOnError: 4096,
  autoConverge: 8192,
  rdmaPinAll: 16384,
  postcopy: 32768,
  tls: 65536,
  parallel: 131072,
  nonSharedSynchronousWrites: 262144,
  postcopyResume: 524288,
  zerocopy: 1048576,
} as const;

/** virDomainGuestInfoTypes. */
export const guestInfoFlags = {
  users: 1,
  os: 2,
  timezone: 4,
  hostname: 8,
  filesystem: 16,
  disks: 32,
  interfaces: 64,
  load: 128,
} as const;

/** Each table under the name of its enumeration without `vir`, for the test. */
export const domainFlagTables: Readonly<Record<string, FlagTable>> = {
  ConnectListAllDomainsFlags: listDomainsFlags,
  ConnectGetAllDomainStatsFlags: statsFlags,
  DomainXMLFlags: xmlFlags,
  DomainDefineFlags: defineFlags,
  DomainCreateFlags: startFlags,
  DomainShutdownFlagValues: shutdownFlags,
  DomainDestroyFlagsValues: destroyFlags,
  DomainUndefineFlagsValues: undefineFlags,
  DomainSaveRestoreFlags: saveFlags,
  DomainDeviceModifyFlags: deviceFlags,
  DomainVcpuFlags: vcpuFlags,
  DomainMemoryModFlags: memoryFlags,
  DomainConsoleFlags: consoleFlags,
  DomainCoreDumpFlags: dumpFlags,
  DomainGetJobStatsFlags: jobStatsFlags,
  DomainSnapshotCreateFlags: snapshotCreateFlags,
  DomainSnapshotListFlags: snapshotListFlags,
  DomainSnapshotRevertFlags: revertFlags,
  DomainSnapshotDeleteFlags: deletePointFlags,
  DomainCheckpointCreateFlags: checkpointCreateFlags,
  DomainCheckpointListFlags: checkpointListFlags,
  DomainCheckpointXMLFlags: checkpointXmlFlags,
  DomainBackupBeginFlags: backupFlags,
  DomainBlockJobAbortFlags: blockAbortFlags,
  DomainBlockCommitFlags: blockCommitFlags,
  DomainBlockCopyFlags: blockCopyFlags,
  DomainMigrateFlags: migrateFlags,
  DomainGuestInfoTypes: guestInfoFlags,
};
