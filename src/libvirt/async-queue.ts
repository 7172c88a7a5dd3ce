/**
 * A queue between one producer that never waits and one consumer that does. It does not bound itself: its owner
 * looks at {@link size} before it pushes.
 */
export class AsyncQueue<T> {
  readonly #items: T[] = [];
  #waiting: { resolve: (result: IteratorResult<T, undefined>) => void; reject: (error: Error) => void } | undefined;
  #ended: { readonly error: Error | undefined } | undefined;

  /** Items not taken yet. */
  get size(): number {
    return this.#items.length;
  }

  /** Whether {@link end} was called. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** Adds an item; ignored after the end. */
  push(item: T): void {
    if (this.#ended !== undefined) return;
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#items.push(item);
    } else {
      this.#waiting = undefined;
      waiting.resolve({ done: false, value: item });
    }
  }

  /** The newest item that was not taken, to be merged with the next. */
  last(): T | undefined {
    return this.#items.at(-1);
  }

  /** No more items: what is queued can still be taken, then iteration ends, with `error` if there is one. */
  end(error?: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = { error };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) return;
    if (error === undefined) waiting.resolve({ done: true, value: undefined });
    else waiting.reject(error);
  }

  /** Forgets what is queued and does not pass. */
  retain(pass: (item: T) => boolean): void {
    const kept = this.#items.filter(pass);
    this.#items.splice(0, this.#items.length, ...kept);
  }

  /** Forgets what is queued. */
  clear(): void {
    this.#items.length = 0;
  }

  /** The next item, when there is one. Only one may be awaited at a time. */
  next(): Promise<IteratorResult<T, undefined>> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve({ done: false, value: item });
    if (this.#ended !== undefined) {
      const { error } = this.#ended;
      // Thrown once; afterwards it is simply over.
      this.#ended = { error: undefined };
      return error === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
    }
    if (this.#waiting !== undefined) return Promise.reject(new Error('only one consumer may wait on a queue'));
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }
}
