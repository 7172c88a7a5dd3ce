/** Stands in for lmdb in the single executable, which can hold no native addon. */
import { FailedError } from '../src/base/errors.ts';

/** @throws FailedError always. */
export function open(): never {
  throw new FailedError('the single executable has no embedded server', {
    hint: 'install the npm package: npm install --global virtctl',
  });
}
