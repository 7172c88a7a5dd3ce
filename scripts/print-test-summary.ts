/**
 * Prints `N passed, N failed, N skipped` from vitest's JSON report, and fails when a test failed, when a file could
 * not be run, or when none ran.
 *
 *   tsx scripts/print-test-summary.ts REPORT
 */
import { readFile } from 'node:fs/promises';
import process from 'node:process';

interface Report {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly { readonly name: string; readonly status: string; readonly message: string }[];
}

const path = process.argv[2];
if (path === undefined) throw new Error('usage: print-test-summary REPORT');
const report = JSON.parse(await readFile(path, 'utf8')) as Report;
for (const file of report.testResults.filter(({ status }) => status === 'failed')) {
  process.stderr.write(`failed: ${file.name} ${file.message}\n`);
}
const skipped = report.numPendingTests + report.numTodoTests;
process.stdout.write(`${report.numPassedTests} passed, ${report.numFailedTests} failed, ${skipped} skipped\n`);
if (!report.success || report.numPassedTests === 0) process.exitCode = 1;
