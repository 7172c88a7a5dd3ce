import { plainVerb } from '../cli/plain-verb.ts';

/** `virtctl unpause`: lets its CPUs run again. */
export const configure = plainVerb('unpause', 'Unpause', 'unpaused');
