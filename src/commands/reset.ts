import { plainVerb } from '../cli/plain-verb.ts';

/** `virtctl reset`: the reset button, without asking the guest. */
export const configure = plainVerb('reset', 'Reset', 'reset');
