import { spawn } from 'node:child_process';
import { FailedError, TimedOutError, toError, UnreachableError, type VirtctlError } from '../../base/errors.ts';

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
const maxOutputBytes = 65_536;
/** What ssh itself ends with when it did not get as far as the program (ssh(1), EXIT STATUS). */
const notConnected = 255;

/** What may be told beside what is read. */
export interface SshCall {
  /** What the program reads from its standard input. */
  readonly input?: Uint8Array | string;
  /** Further exit codes that are no failure. */
  readonly accept?: readonly number[];
}

/**
 * Runs a program on another host. ssh is given an argument array; the words of the command are the program's own and have
 * nothing that the other side's shell would take for something else.
 *
 * @returns What it wrote.
 * @throws UnreachableError when ssh does not get there or is not let in; TimedOutError; FailedError with what the program complained about.
 */
export async function runSsh(options: SshOptions, command: readonly string[], call: SshCall = {}): Promise<string> {
  const { destination, port, identity, env, signal } = options;
  const { input = '', accept = [] } = call;
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
    child.on('error', (cause) => {
      reject(signal.aborted ? toError(signal.reason) : new FailedError('cannot run ssh', { cause }));
    });
    child.on('close', (code, killed) => {
      if (code === 0 || (code !== null && accept.includes(code))) resolve(output);
      else if (signal.aborted) reject(toError(signal.reason));
      else if (child.killed) {
        const seconds = String(timeoutMs / 1000);
        reject(new TimedOutError(`${destination}: ${command.join(' ')} is not over after ${seconds} s`));
      } else reject(failureOf(options, command, killed ?? code, complaint));
    });
    // A program that ends before it has read everything says itself why.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

function failureOf(
  options: SshOptions,
  command: readonly string[],
  end: string | number | null,
  complaint: string,
): VirtctlError {
  const { destination } = options;
  // One line, as every error; what the other side says is not for the terminal to act on.
  const lines = complaint.split(/[\r\n]+/).map((line) => line.replaceAll(/\p{Cc}+/gu, ' ').trim());
  const said = lines.filter((line) => line !== '').join('; ');
  if (end === notConnected) {
    const why = said === '' ? 'it does not say why' : said;
    return new UnreachableError(`ssh does not get to ${destination}: ${why}`, { hint: hintFor(said, options) });
  }
  const words = said === '' ? '' : `: ${said}`;
  return new FailedError(`${destination}: ${command.join(' ')} ended with ${String(end)}${words}`);
}

function hintFor(said: string, { destination, port }: SshOptions): string {
  const by = `ssh ${port === undefined ? '' : `-p ${String(port)} `}${destination}`;
  if (/host key verification failed/i.test(said)) return `run \`${by}\` once and compare the host's key`;
  if (/permission denied/i.test(said)) return `see that \`${by}\` needs no password: --identity, or an agent`;
  return `see that \`${by}\` works`;
}
