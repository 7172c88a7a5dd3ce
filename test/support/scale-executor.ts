/**
 * Many machines of libvirt's test driver on one executor: how long it takes to make them, to look at all of them again, and
 * what it uses at rest. `npm run soak -- executor-scale` runs it with 500, the tests with a tenth.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { startExecutorNode, type ExecutorNode } from './executor-node.ts';

/** What was measured. */
export interface ScaleRun {
  readonly machines: number;
  /** From the first create until all run, in seconds. */
  readonly createSeconds: number;
  /** From the start of a new executor until it has looked at every machine, in seconds. */
  readonly resyncSeconds: number;
  /** Of one core, at rest. */
  readonly idleCpuPercent: number;
  readonly residentMiB: number;
  /** Reconciles in the time at rest. */
  readonly idleReconciles: number;
}

/** Runs it. `idleMs` is how long it is watched at rest. */
export async function scaleRun(count: number, idleMs: number, log: (line: string) => void): Promise<ScaleRun> {
  const node = await startExecutorNode({ testDriver: true });
  try {
    const started = performance.now();
    for (let first = 0; first < count; first += 20) {
      const names = Array.from({ length: Math.min(20, count - first) }, (_entry, index) => `vm-${first + index}`);
      await Promise.all(
        names.map((name) =>
          node.create(name, {
            runStrategy: 'Always',
            domain: {
              type: 'test',
              memory: { unit: 'MiB', value: 512 },
              vcpu: { value: 1 },
              os: { type: { value: 'hvm' } },
            },
          }),
        ),
      );
    }
    await untilRunning(node, count);
    const createSeconds = seconds(started);
    log(`${count} machines run after ${createSeconds} s`);
    await node.stopExecutor('SIGKILL');
    const restarted = performance.now();
    await node.startExecutor();
    while ((await metric(node, 'virtctl_reconciles_total')) < count) await delay(50);
    const resyncSeconds = seconds(restarted);
    log(`a new executor has looked at all after ${resyncSeconds} s`);
    // What the start leaves behind is not rest.
    await delay(Math.min(15_000, idleMs));
    const [cpuBefore, reconcilesBefore] = [await cpuSeconds(node.pid), await metric(node, 'virtctl_reconciles_total')];
    const idleStarted = performance.now();
    await delay(idleMs);
    const cpu = (await cpuSeconds(node.pid)) - cpuBefore;
    const idleCpuPercent = round((cpu / ((performance.now() - idleStarted) / 1000)) * 100);
    const idleReconciles = (await metric(node, 'virtctl_reconciles_total')) - reconcilesBefore;
    const residentMiB = round((await residentBytes(node.pid)) / 1024 ** 2);
    log(`at rest: ${idleCpuPercent} % of a core, ${residentMiB} MiB, ${idleReconciles} reconciles`);
    return { machines: count, createSeconds, resyncSeconds, idleCpuPercent, residentMiB, idleReconciles };
  } finally {
    await node.close();
  }
}

async function untilRunning(node: ExecutorNode, count: number): Promise<void> {
  const end = Date.now() + 300_000;
  for (;;) {
    const { items } = await node.machines.listAll({ namespace: node.namespace });
    const running = items.filter(({ status }) => status?.printableStatus === 'Running').length;
    if (running === count) return;
    if (Date.now() > end) throw new Error(`${running} of ${count} machines run: ${(await node.log()).slice(-2000)}`);
    await delay(200);
  }
}

/** The sum of a metric's samples. */
async function metric(node: ExecutorNode, name: string): Promise<number> {
  const text = await (await fetch(`${node.metricsUrl}/metrics`)).text();
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && line.includes('controller="virtualmachine"'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+([0-9]+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
}

const round = (value: number): number => Math.round(value * 100) / 100;
const seconds = (since: number): number => round((performance.now() - since) / 1000);
