import { describe, expect, it } from 'vitest';
import type { DiskMove, VirtualDisk } from '../../../src/api/virtual-disk.ts';
import { FileHolds } from '../../../src/executor/virtual-disk/file-holds.ts';
import { dropSecondVolume } from '../../../src/executor/virtual-disk/second-volume.ts';
import { statusError } from '../../../src/kube/status-error.ts';
import type { StorageContext } from '../../../src/executor/virtual-pool/storage-context.ts';

interface Scene {
  readonly state: DiskMove['state'];
  /** The node that the disk is on, when it is read again; undefined: it is gone. */
  readonly on?: string | undefined;
  /** The operation's phase; undefined: it is gone. */
  readonly phase: string | undefined;
  readonly uid?: string;
  /** What a domain of the node has for its disk. */
  readonly domain?: string;
  /** Whether somebody works on the file. */
  readonly isHeld?: boolean;
  readonly wipe?: VirtualDisk['spec']['wipe'];
  /** Whether somebody writes the disk while the volume is being removed. */
  readonly isWritten?: boolean;
  /** What a file lies over that somebody made. */
  readonly below?: string;
  /** The pool cannot be looked through. */
  readonly isBusy?: boolean;
}

const path = '/virtctl/no/such/folder/v';

/** What node-2, which is said to have the second volume, does about it. */
async function drop(scene: Scene): Promise<readonly string[]> {
  const acts: string[] = [];
  const move = {
    nodeName: 'node-2',
    state: scene.state,
    operation: 'op',
    operationUid: 'o',
    pool: 'p',
    volume: 'v',
    path,
  };
  let resourceVersion = '1';
  const disk = (nodeName: string): VirtualDisk => ({
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk' },
    metadata: { name: 'root', namespace: 'shop', uid: 'd', resourceVersion },
    spec: scene.wipe === undefined ? {} : { wipe: scene.wipe },
    status: { nodeName, move },
  });
  const act = (name: string) => (): Promise<void> => {
    acts.push(name);
    return Promise.resolve();
  };
  const remove = (): Promise<void> => {
    if (scene.isWritten === true) resourceVersion = '2';
    return act('delete')();
  };
  const over = `<volume><target><path>/over</path></target><backingStore><path>${scene.below ?? '/other'}</path></backingStore></volume>`;
  const pool = {
    name: 'p',
    refresh: () => (scene.isBusy === true ? Promise.reject(new Error('it is busy')) : Promise.resolve()),
    volumes: () => Promise.resolve([{ xml: () => Promise.resolve(over) }]),
    volume: () => Promise.resolve(volume),
  };
  const volume = { info: () => Promise.resolve({}), wipe: act('wipe'), delete: remove };
  const xml = `<domain><devices><disk type='file'><source file='${scene.domain ?? ''}'/></disk></devices></domain>`;
  const fileHolds = new FileHolds();
  if (scene.isHeld === true) fileHolds.take(new Map([[path, 'write']]), 'it is being made');
  const context = {
    nodeName: 'node-2',
    fileHolds,
    knownDisks: () => [],
    operations: {
      find: () =>
        Promise.resolve(
          scene.phase === undefined
            ? undefined
            : { metadata: { name: 'op', uid: scene.uid ?? 'o' }, status: { phase: scene.phase } },
        ),
    },
    disks: {
      find: () => Promise.resolve(scene.on === undefined ? undefined : disk(scene.on)),
      mergePatch: (_ref: unknown, { metadata, status }: Pick<VirtualDisk, 'metadata' | 'status'>) => {
        const isOld = metadata.uid !== 'd' || (metadata.resourceVersion ?? resourceVersion) !== resourceVersion;
        return isOld ? Promise.reject(conflict) : act(JSON.stringify(status))();
      },
    },
    libvirt: () => ({
      domains: {
        list: () => Promise.resolve(scene.domain === undefined ? [] : [{ xml: () => Promise.resolve(xml) }]),
      },
      pools: { byName: () => Promise.resolve(pool) },
    }),
    record: ({ note }: { readonly note: string }) => void acts.push(note),
  } as unknown as StorageContext;
  const again = await dropSecondVolume(context, disk('node-1'), new AbortController().signal);
  return [...acts, ...(again === undefined ? [] : ['looks again'])];
}

const conflict = statusError(409, { kind: 'Status', reason: 'Conflict' }, { what: 'PATCH' });
const removed = ['delete', '{"move":null}'];

describe('the second volume of a disk', () => {
  it.each<[string, Scene, readonly string[]]>([
    ['of a migration that goes on', { state: 'Copying', on: 'node-1', phase: 'Running' }, ['looks again']],
    [
      'of one that goes on after the disk was given away',
      { state: 'Left', on: 'node-1', phase: 'Running' },
      ['looks again'],
    ],
    [
      'of one that succeeded, though nobody gave the disk away',
      { state: 'Copying', on: 'node-1', phase: 'Succeeded' },
      ['looks again'],
    ],
    ['that is the disk itself by now', { state: 'Copying', on: 'node-2', phase: 'Failed' }, ['looks again']],
    ['that a domain has', { state: 'Copying', on: 'node-1', phase: 'Failed', domain: path }, ['looks again']],
    ['that is being made', { state: 'Copying', on: 'node-1', phase: 'Failed', isHeld: true }, ['looks again']],
    ['of a disk that is gone', { state: 'Copying', phase: 'Failed' }, []],
    [
      'that a file of somebody lies over',
      { state: 'Copying', on: 'node-1', phase: 'Failed', below: path },
      [`${path} on node node-2, which a migration left, stays while /over lies over it`, 'looks again'],
    ],
    [
      'in a pool that cannot be looked through',
      { state: 'Copying', on: 'node-1', phase: 'Failed', isBusy: true },
      ['looks again'],
    ],
  ])('stays: %s', async (_what, scene, acts) => {
    expect(await drop(scene)).toEqual(acts);
  });

  it.each<[string, Scene]>([
    ['a migration that failed copied to', { state: 'Copying', on: 'node-1', phase: 'Failed' }],
    ['one that is gone copied to', { state: 'Copying', on: 'node-1', phase: undefined }],
    ['one before the one of that name copied to', { state: 'Copying', on: 'node-1', phase: 'Running', uid: 'other' }],
    ['the disk was before it moved', { state: 'Left', on: 'node-1', phase: 'Succeeded' }],
    ['no domain has', { state: 'Left', on: 'node-1', phase: 'Succeeded', domain: '/other' }],
  ])('goes, and its note after it: %s', async (_what, scene) => {
    expect(await drop(scene)).toEqual(removed);
  });

  it('is overwritten first where the disk says so', async () => {
    expect(await drop({ state: 'Left', on: 'node-1', phase: 'Succeeded', wipe: 'zero' })).toEqual(['wipe', ...removed]);
  });

  it('keeps a note that was written while the volume was being removed, and looks at it again', async () => {
    const scene: Scene = { state: 'Left', on: 'node-1', phase: 'Succeeded', isWritten: true };
    expect(await drop(scene)).toEqual(['delete', 'looks again']);
  });
});
