import { UsageError } from '../../base/errors.ts';
import { resourcesNamed, type KnownResource } from './known-resources.ts';

/** What a command line names: one object, or all objects of a kind that match its flags. */
export interface Target {
  readonly resource: KnownResource;
  /** Undefined for all. */
  readonly name: string | undefined;
  /** From a file; the command line's when undefined. */
  readonly namespace?: string | undefined;
}

/**
 * Reads `KIND[,KIND] [NAME…]` and `KIND/NAME…`, as kubectl does.
 *
 * @throws UsageError when the forms are mixed, a name is empty, or a kind is unknown.
 */
export function parseTargets(words: readonly string[]): Target[] {
  const [first] = words;
  if (first === undefined) return [];
  if (words.some((word) => word.includes('/'))) {
    return words.map((word) => {
      const slash = word.indexOf('/');
      const [kind, name] = [word.slice(0, slash), word.slice(slash + 1)];
      if (slash <= 0 || name === '' || name.includes('/')) {
        throw new UsageError(`"${word}": expected KIND/NAME, as vm/web, for each`);
      }
      const [resource, ...more] = resourcesNamed(kind);
      if (resource === undefined || more.length > 0)
        throw new UsageError(`"${word}": expected one kind before the slash`);
      return { resource, name };
    });
  }
  const resources = resourcesNamed(first);
  const names = words.slice(1);
  if (names.includes('')) throw new UsageError('a name is empty');
  if (names.length === 0) return resources.map((resource) => ({ resource, name: undefined }));
  return resources.flatMap((resource) => [...new Set(names)].map((name) => ({ resource, name })));
}

/** The one object that words name; for commands that take exactly one. */
export function parseOneTarget(words: readonly string[]): { readonly resource: KnownResource; readonly name: string } {
  const [target, ...more] = parseTargets(words);
  if (target?.name === undefined || more.length > 0)
    throw new UsageError('expected one object: KIND NAME or KIND/NAME');
  return { resource: target.resource, name: target.name };
}
