import { spawn } from 'node:child_process';
import { FailedError } from '../../base/errors.ts';

/** How a host is reached. */
export interface SshOptions {
  /** `root@host`. */
  readonly destination: string;
  readonly port?: number | undefined;
  readonly identity?: string | undefined;
  /** The environment of ssh, for its agent. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/** One command on the other side may take this long. */
const timeoutMs = 120_000;
const maxOutputBytes = 8192;

/**
 * Runs a program on another host. ssh is given an argument array; the words of the command are the program's own and have
 * nothing that the other side's shell would take for something else.
 *
 * @param input What the program reads from its standard input.
 * @returns What it wrote.
 * @throws FailedError with what it complained about.
 */
export async function runSsh(
  options: SshOptions,
  command: readonly string[],
  input: Uint8Array | string = '',
): Promise<string> {
  const { destination, port, identity, env, signal } = options;
  const unsafe = command.find((word) => !/^[A-Za-z0-9_./:=@%+-]+$/.test(word));
  if (unsafe !== undefined) throw new FailedError(`"${unsafe}" cannot be a word of a command on another host`);
  const args = [
    ...['-o', 'BatchMode=yes', '-o', 'ConnectTimeout=20'],
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...(identity === undefined ? [] : ['-i', identity]),
    '--',
    destination,
    ...command,
  ];
  return new Promise<string>((resolve, reject) => {
    const child = spawn('ssh', args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...env }, signal, timeout: timeoutMs });
    let output = '';
    let complaint = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-maxOutputBytes)));
    child.stderr
      .setEncoding('utf8')
      .on('data', (text: string) => (complaint = (complaint + text).slice(-maxOutputBytes)));
    child.on('error', (cause) => reject(new FailedError('cannot run ssh', { cause })));
    child.on('close', (code, killed) => {
      if (code === 0) resolve(output);
      else {
        const words = complaint.trim() === '' ? '' : `: ${complaint.trim()}`;
        reject(new FailedError(`${destination}: ${command.join(' ')} ended with ${killed ?? String(code)}${words}`));
      }
    });
    // A program that ends before it has read everything says itself why.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}
