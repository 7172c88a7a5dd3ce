/** How a call that moves a guest is doing. */
export interface RunningMigration {
  /** `running`, or how it ended. */
  outcome: 'running' | 'done' | Error;
  /** Whether post-copy was begun. */
  isPostCopy: boolean;
}

/** So many guests leave a node at a time; libvirtd answers only a few calls of one connection at once. */
const maxOutgoing = 2;

/**
 * Calls to libvirt that move guests: they take longer than a reconcile may. Lost with the process: libvirtd goes on by
 * itself, and what became of it is seen there.
 */
export class RunningMigrations {
  readonly #running = new Map<string, RunningMigration>();

  /** Whether one more may begin. */
  get hasRoom(): boolean {
    return [...this.#running.values()].filter(({ outcome }) => outcome === 'running').length < maxOutgoing;
  }

  get(uuid: string): RunningMigration | undefined {
    return this.#running.get(uuid);
  }

  /** Begins one; its end is noted. */
  start(uuid: string, migrate: () => Promise<void>): void {
    const entry: RunningMigration = { outcome: 'running', isPostCopy: false };
    this.#running.set(uuid, entry);
    migrate().then(
      () => {
        entry.outcome = 'done';
      },
      (error: unknown) => {
        entry.outcome = error instanceof Error ? error : new Error(String(error));
      },
    );
  }

  forget(uuid: string): void {
    this.#running.delete(uuid);
  }
}
