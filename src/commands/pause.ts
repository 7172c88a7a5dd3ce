import { plainVerb } from '../cli/plain-verb.ts';

/** `virtctl pause`: stops its CPUs, keeps its memory. */
export const configure = plainVerb('pause', 'Pause', 'paused');
