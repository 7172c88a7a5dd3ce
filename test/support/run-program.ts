import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/**
 * Runs a program and gives what it printed, without the line breaks at the end.
 *
 * @throws Error with the program's standard error when it does not end with 0, or after 60 seconds.
 */
export async function runProgram(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000, killSignal: 'SIGKILL' });
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => resolve(String(status ?? signal)));
  });
  const [output, complaint, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (status !== '0') throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${complaint.trim()}`);
  return output.replace(/\n+$/, '');
}
