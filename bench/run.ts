/**
 * Runs benchmarks: `npm run bench -- NAME…`. Each is a module bench/NAME.ts that exports `run(): Promise<BenchReport>`;
 * its table is printed, and the report written as JSON to bench-results/NAME.json below node_modules/.cache.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { formatReport, type BenchReport } from './bench-report.ts';

const folder = import.meta.dirname;
const results = join(folder, '../node_modules/.cache/bench-results');
const names = process.argv.slice(2);

if (names.length === 0) {
  const files = (await readdir(folder)).filter(
    (file) => file.endsWith('.ts') && !/^(run|bench-report)\.ts$/.test(file),
  );
  process.stderr.write(
    `usage: npm run bench -- NAME…\nNAME is one of ${files.map((file) => file.slice(0, -3)).join(', ')}\n`,
  );
  process.exit(2);
}
for (const name of names) {
  if (!/^[a-z0-9-]+$/.test(name)) throw new Error(`${name} is not the name of a benchmark`);
  const { run } = (await import(`./${name}.ts`)) as { run: () => Promise<BenchReport> };
  const report = await run();
  process.stdout.write(`${formatReport(report)}\n`);
  await mkdir(results, { recursive: true });
  const machine = { node: process.version, processors: cpus().length, processor: cpus()[0]?.model };
  const file = join(results, `${name}.json`);
  await writeFile(file, `${JSON.stringify({ name, ...report, machine }, undefined, 2)}\n`);
  process.stderr.write(`written to ${file}\n`);
}
