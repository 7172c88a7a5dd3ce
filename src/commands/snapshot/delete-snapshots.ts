import { snapshotsOf } from './take-snapshot.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { Context } from '../../cli/context.ts';
import { withKubeClient, type KubeFlags } from '../../cli/kube-options.ts';
import { startProgress } from '../../cli/progress.ts';
import { forEachReported } from '../../cli/resources/resource-options.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import { writeResult } from '../../cli/write-result.ts';

/** The flags of `virtctl snapshot delete`. */
export interface DeleteFlags extends KubeFlags {
  readonly wait: boolean;
  readonly timeout: number;
}

/** Deletes snapshots, and waits until what they kept is merged. A failure of one does not stop the others. */
export async function deleteSnapshots(context: Context, names: readonly string[], flags: DeleteFlags): Promise<void> {
  const { signal } = context;
  await withKubeClient(context, flags, async (client) => {
    const snapshots = snapshotsOf(client);
    await forEachReported(context, names, async (name) => {
      const ref = { namespace: client.namespace, name };
      const found = await snapshots.get(ref, { signal });
      await snapshots.delete(ref, { preconditions: { uid: found.metadata.uid }, signal });
      if (flags.wait) {
        const progress = await startProgress(context, 2);
        let last: string | undefined;
        const isGone = (now: VirtualMachineSnapshot | undefined): boolean => {
          if (now === undefined || now.metadata.uid !== found.metadata.uid) return true;
          const { percent, message } = now.status ?? {};
          progress.update(`merging vmsnap/${name}${percent === undefined ? '' : ` ${percent}%`}`);
          // What it waits for is told once: it may be a disk that lies over it, or space.
          if (message !== undefined && message !== last) {
            progress.clear();
            context.stderr.write(`vmsnap/${name}: ${message}\n`);
          }
          last = message;
          return false;
        };
        const what = `vmsnap/${name} to be merged (see 'virtctl describe vmsnap ${name}')`;
        try {
          await waitForObject(snapshots, ref, isGone, { signal, timeoutMs: flags.timeout, what });
        } finally {
          progress.stop();
        }
      }
      await writeResult(context, `vmsnap/${name} ${flags.wait ? 'deleted' : 'is being deleted'}\n`);
    });
  });
}
