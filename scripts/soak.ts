/**
 * Runs a fault or load test in its full length and prints its figures; the test command runs a tenth of each.
 *
 *   tsx scripts/soak.ts NAME
 *
 * A soak is a module `test/…` of which the entry here says what to call.
 */
import process from 'node:process';

/** Runs a soak; its result is printed. */
type Soak = (log: (line: string) => void) => Promise<unknown>;

const soaks: Readonly<Record<string, () => Promise<Soak>>> = {
  adoption: async () => {
    const [{ adoptCorpus }, { AdoptingHost }, { startExecutorNode }] = await Promise.all([
      import('../test/support/adopt-corpus.ts'),
      import('../test/support/adopting-host.ts'),
      import('../test/support/executor-node.ts'),
    ]);
    return async () => {
      const node = await startExecutorNode();
      try {
        return await adoptCorpus(new AdoptingHost(node), 1);
      } finally {
        await node.close();
      }
    };
  },
  'api-away': async () => {
    const { awayRun } = await import('../test/support/api-away.ts');
    return (log) => awayRun(60_000, log);
  },
  'crash-api': async () => {
    const { crashRun } = await import('../test/standalone/crash-run.ts');
    return (log) => crashRun(200, Math.random, log);
  },
  'executor-kill': async () => {
    const { killRun } = await import('../test/support/kill-executor.ts');
    return (log) => killRun(100, Math.random, log);
  },
  'libvirtd-kill': async () => {
    const { killRun } = await import('../test/support/kill-executor.ts');
    return (log) => killRun(100, Math.random, log, 'executor and libvirtd');
  },
  'executor-scale': async () => {
    const { scaleRun } = await import('../test/support/scale-executor.ts');
    return (log) => scaleRun(500, 60_000, log);
  },
  schedulers: async () => {
    const [{ killSchedulers }, { startKubeApiserver }, { installKinds }] = await Promise.all([
      import('../test/support/kill-schedulers.ts'),
      import('../test/support/kube-apiserver.ts'),
      import('../test/support/install-kinds.ts'),
    ]);
    return async (log) => {
      const api = await startKubeApiserver();
      try {
        await installKinds(api);
        return await killSchedulers(api.kubeconfigPath, 100, Math.random, log);
      } finally {
        await api.stop();
      }
    };
  },
  snapshots: async () => {
    const { snapshotRun } = await import('../test/support/snapshot-soak.ts');
    return (log) => snapshotRun(60, Math.random, log);
  },
  'migration-faults': () => migrationFaults(),
  'migration-disk-faults': () => migrationFaults('roamer-disk'),
};

/** @param disk The name of the disk that goes with the guest; none when left out. */
async function migrationFaults(disk?: string): Promise<Soak> {
  const { faultRun } = await import('../test/support/migration-faults.ts');
  const { startLabCluster } = await import('../test/support/lab-cluster.ts');
  const { testGuest } = await import('../test/support/guest.ts');
  return async (log) => {
    const cluster = await startLabCluster();
    try {
      return await faultRun(cluster, await testGuest(), 50, Math.random, log, disk);
    } finally {
      await cluster.close();
    }
  };
}

const name = process.argv[2] ?? '';
const load = soaks[name];
if (load === undefined) {
  process.stderr.write(`usage: npm run soak -- NAME, of ${Object.keys(soaks).join(', ')}\n`);
  process.exit(2);
}
const soak = await load();
const started = performance.now();
const report = await soak((line) => void process.stdout.write(`${line}\n`));
const seconds = Math.round((performance.now() - started) / 1000);
process.stdout.write(`${JSON.stringify({ soak: name, seconds, report }, undefined, 2)}\n`);
