import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';

/** What {@link LabProcess} runs. */
export interface LabProcessOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** What it prints is added to this file. */
  readonly log: string;
  /** Says that it works: text that it prints. Without it, it works as soon as it runs. */
  readonly readyText?: string | undefined;
  /** Whether the program forks and waits (nsenter into a PID namespace), so that its child is the one to signal. */
  readonly forks?: boolean;
}

const readyDeadlineMs = 120_000;

/** A long-running program of the lab that can be killed and started again. The kernel kills it when this process dies. */
export class LabProcess {
  readonly #options: () => LabProcessOptions;
  #child: ChildProcess | undefined;

  /** @param options Asked at each start. */
  constructor(options: () => LabProcessOptions) {
    this.#options = options;
  }

  get isRunning(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** The process id of what was started; 0 when it does not run. */
  async pid(): Promise<number> {
    const outer = this.isRunning ? (this.#child?.pid ?? 0) : 0;
    if (outer === 0 || this.#options().forks !== true) return outer;
    return firstChild(outer);
  }

  /**
   * Starts it, and waits until it says that it works.
   *
   * @throws Error with the end of what it printed when it ends meanwhile or does not come so far in two minutes.
   */
  async start(): Promise<void> {
    if (this.isRunning) return;
    const { program, args, env, log, readyText } = this.#options();
    const file = await open(log, 'a');
    const { size: begin } = await file.stat();
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], {
      stdio: ['ignore', file.fd, file.fd],
      env: { ...process.env, ...env },
    });
    this.#child = child;
    await once(child, 'spawn');
    await file.close();
    if (readyText === undefined) return;
    const said = async (): Promise<string> => (await readFile(log)).subarray(begin).toString('utf8');
    const end = performance.now() + readyDeadlineMs;
    while (!(await said()).includes(readyText)) {
      await delay(30);
      const ended = child.exitCode !== null || child.signalCode !== null;
      const problem = ended ? 'ended' : performance.now() > end ? 'is not ready' : undefined;
      if (problem !== undefined) throw new Error(`${args.join(' ')} ${problem}: ${(await said()).slice(-3000)}`);
    }
  }

  /** Sends a signal; with SIGKILL and SIGTERM also waits for the end. */
  async signal(signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    const ended = once(child, 'exit');
    const pid = await this.pid();
    if (pid !== 0) kill(pid, signal);
    // nsenter stops itself when its child is stopped, and then neither goes on nor sees the child's end by itself.
    if (signal !== 'SIGSTOP' && child.pid !== undefined && child.pid !== pid) kill(child.pid, 'SIGCONT');
    if (signal !== 'SIGKILL' && signal !== 'SIGTERM') return;
    // One that is stopped never hears of SIGTERM.
    const timer = setTimeout(() => {
      if (pid !== 0) kill(pid, 'SIGKILL');
      child.kill('SIGKILL');
    }, 10_000);
    await ended;
    clearTimeout(timer);
  }
}

/** Sends a signal; that it ended meanwhile is no mistake. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function firstChild(pid: number): Promise<number> {
  const end = performance.now() + 5_000;
  while (performance.now() < end) {
    try {
      const [child] = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ');
      if (child !== undefined && child !== '') return Number(child);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
      throw error;
    }
    await delay(10);
  }
  return 0;
}
