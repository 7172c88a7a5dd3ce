import { spawn } from 'node:child_process';
import process from 'node:process';
import { median } from './bench-report.ts';

/** A command line with a name. */
export interface TimedProcess {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
}

/** Wall-clock milliseconds of a process. */
export interface ProcessTimes {
  readonly median: number;
  /** The least: what it takes when nothing else is in the way. */
  readonly least: number;
}

/**
 * Runs whole processes in turn (A B A B …, so that a drift of the machine's speed hits all alike), after one round that
 * does not count.
 *
 * @param env Added to this process' environment; what is undefined is taken out of it.
 * @throws when one of them fails.
 */
export async function timeProcesses(
  contenders: readonly TimedProcess[],
  rounds: number,
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<ReadonlyMap<string, ProcessTimes>> {
  const times = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = -1; round < rounds; round += 1) {
    for (const contender of contenders) {
      const ms = await timeOne(contender, env);
      if (round >= 0) times.get(contender.name)?.push(ms);
    }
  }
  return new Map([...times].map(([name, values]) => [name, { median: median(values), least: Math.min(...values) }]));
}

async function timeOne(
  { program, args, name }: TimedProcess,
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const start = performance.now();
  await new Promise<void>((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env } });
    const complaint: Buffer[] = [];
    child.stderr.on('data', (data: Buffer) => complaint.push(data));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${name} ended with ${String(code)}: ${Buffer.concat(complaint).toString()}`));
    });
  });
  return performance.now() - start;
}
