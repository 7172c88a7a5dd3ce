import { describe, expect, it } from 'vitest';
import type { DiskMove, VirtualDisk } from '../../../src/api/virtual-disk.ts';
import { LostSecondVolumes } from '../../../src/executor/virtual-disk/lost-second-volume.ts';
import type { StorageContext } from '../../../src/executor/virtual-pool/storage-context.ts';
import { statusError } from '../../../src/kube/status-error.ts';
import { ManualClock } from '../../support/manual-clock.ts';

interface Scene {
  readonly state?: DiskMove['state'];
  /** The operation's phase; undefined: it is gone. */
  readonly phase?: string | undefined;
  /** The machine's migration, as it says. */
  readonly migration?: string;
  /** Whether the node is in the cache, and whether it is at the API server when it is asked. */
  readonly isCached?: boolean;
  readonly isThere?: boolean;
  readonly waitedMs?: number;
  readonly isWritten?: boolean;
}

const signal = new AbortController().signal;
const conflict = statusError(409, { kind: 'Status', reason: 'Conflict' }, { what: 'PATCH' });

/** What node-1, which has the disk, does about a second volume on node-2. */
async function look(scene: Scene): Promise<readonly unknown[]> {
  const acts: unknown[] = [];
  const clock = new ManualClock();
  const { state = 'Left', phase, migration = 'Failed' } = scene;
  const move = { nodeName: 'node-2', state, operation: 'op', operationUid: 'o', pool: 'p', volume: 'v', path: '/p/v' };
  const disk: VirtualDisk = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk', spec: {} },
    metadata: { name: 'root', namespace: 'shop', uid: 'd', resourceVersion: '1' },
    status: { nodeName: 'node-1', move },
  };
  const context = {
    nodeName: 'node-1',
    clock,
    nodes: () => (scene.isCached === true ? [{ name: 'node-2', labels: {} }] : []),
    hypervisors: { find: () => Promise.resolve(scene.isThere === true ? {} : undefined) },
    operations: {
      find: () => Promise.resolve(phase === undefined ? undefined : { metadata: { uid: 'o' }, status: { phase } }),
    },
    machines: {
      find: () => Promise.resolve({ status: { migration: { phase: migration, targetNode: 'node-2' } } }),
    },
    usersOf: () => [{ name: 'web', nodeName: 'node-1' }],
    disks: {
      mergePatch: (_ref: unknown, patch: unknown) => {
        if (scene.isWritten === true) return Promise.reject(conflict);
        acts.push(patch);
        return Promise.resolve(disk);
      },
    },
    record: ({ reason }: { reason: string }) => acts.push(reason),
  } as unknown as StorageContext;
  const volumes = new LostSecondVolumes(context);
  acts.push(await volumes.forget(disk, signal));
  await clock.advance(scene.waitedMs ?? 60_000);
  acts.push(await volumes.forget(disk, signal));
  return acts;
}

const gone = { metadata: { uid: 'd', resourceVersion: '1' }, status: { move: null } };

describe('the note of a second volume whose node is no more', () => {
  it.each<[string, Scene]>([
    ['of a migration that failed', { state: 'Copying', phase: 'Failed' }],
    ['of one whose operation is gone', { state: 'Copying' }],
    ['of the volume that the disk was before it moved', { phase: 'Succeeded' }],
  ])('is taken away after a minute: %s', async (_what, scene) => {
    expect(await look(scene)).toEqual([60_000, gone, 'SecondVolumeLost', undefined]);
  });

  it.each<[string, Scene, readonly unknown[]]>([
    ['while the node may come back', { phase: 'Failed', waitedMs: 20_000 }, [60_000, 40_000]],
    ['when it is there', { phase: 'Failed', isCached: true }, [undefined, undefined]],
    ['when it is there, though the cache does not know', { phase: 'Failed', isThere: true }, [60_000, 60_000]],
    ['while the migration goes on', { state: 'Copying', phase: 'Running' }, [60_000, 60_000]],
    ['when nobody gave the disk away yet', { state: 'Copying', phase: 'Succeeded' }, [60_000, 60_000]],
    ['when the guest may be there', { state: 'Copying', migration: 'Running' }, [60_000, 60_000]],
    ['when somebody wrote the disk meanwhile', { phase: 'Failed', isWritten: true }, [60_000, 0]],
  ])('stays %s', async (_what, scene, acts) => {
    expect(await look(scene)).toEqual(acts);
  });
});
