/**
 * Work that takes longer than a reconcile may: begun by one reconcile, looked at by the next ones. Lost with the process, so
 * that whoever begins it must be able to tell from the files and from libvirt how far it came.
 */
import { toError } from '../../base/errors.ts';

/** How a piece of work stands. */
export type WorkState =
  | { readonly state: 'none' }
  | { readonly state: 'running'; readonly percent: number | undefined }
  | { readonly state: 'done'; readonly note: string | undefined }
  | { readonly state: 'failed'; readonly error: Error };

/** See the head of this file. */
export class LongWork {
  readonly #stop = new AbortController();
  readonly #running = new Map<string, { percent: number | undefined; outcome: WorkState | undefined }>();
  readonly #promises = new Set<Promise<void>>();

  /**
   * Begins a piece of work, unless it runs.
   *
   * @param work May return a note, which {@link take} tells.
   * @param onEnd Is called when it ended, well or not.
   */
  begin(
    name: string,
    work: (onPercent: (percent: number) => void, signal: AbortSignal) => Promise<string | undefined>,
    onEnd: () => void,
  ): void {
    if (this.#running.has(name)) return;
    const entry: { percent: number | undefined; outcome: WorkState | undefined } = {
      percent: undefined,
      outcome: undefined,
    };
    this.#running.set(name, entry);
    const run = async (): Promise<void> => {
      try {
        const note = await work((percent) => (entry.percent = percent), this.#stop.signal);
        entry.outcome = { state: 'done', note };
      } catch (error) {
        entry.outcome = { state: 'failed', error: toError(error) };
      }
      if (!this.#stop.signal.aborted) onEnd();
    };
    const promise = run();
    this.#promises.add(promise);
    void promise.then(() => this.#promises.delete(promise));
  }

  /** Whether it goes on. */
  isRunning(name: string): boolean {
    const entry = this.#running.get(name);
    return entry !== undefined && entry.outcome === undefined;
  }

  /** How a piece of work stands. Its outcome stays until it is forgotten. */
  look(name: string): WorkState {
    const entry = this.#running.get(name);
    if (entry === undefined) return { state: 'none' };
    return entry.outcome ?? { state: 'running', percent: entry.percent };
  }

  /** Its outcome was dealt with: it can be begun again. Nothing while it runs. */
  forget(name: string): void {
    if (!this.isRunning(name)) this.#running.delete(name);
  }

  /** How a piece of work stands; its outcome is told once. */
  take(name: string): WorkState {
    const state = this.look(name);
    this.forget(name);
    return state;
  }

  /** Ends all that runs, and waits until it has ended. What libvirt does goes on. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#promises);
  }
}
