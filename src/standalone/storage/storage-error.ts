import { FailedError } from '../../base/errors.ts';

/** The store could not be read or written: a full disk, a failing one, a damaged file. Nothing of the write is stored. */
export class StorageFailedError extends FailedError {
  override readonly code = 'StorageFailed';
}

/** The store has reached its bound. */
export class StoreFullError extends FailedError {
  override readonly code = 'StoreFull';

  constructor(maxBytes: number) {
    super(`the store is full: it may not grow beyond ${Math.round(maxBytes / 1024 / 1024)} MiB`, {
      hint: 'delete objects that are no longer needed, or raise the bound',
    });
  }
}
