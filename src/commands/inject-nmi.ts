import { plainVerb } from '../cli/plain-verb.ts';

/** `virtctl inject-nmi`: a non-maskable interrupt, for a crash dump. */
export const configure = plainVerb('inject-nmi', 'InjectNMI', 'interrupted');
