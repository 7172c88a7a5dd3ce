import { plainVerb } from '../cli/plain-verb.ts';

/** `virtctl soft-reboot`: asks the guest to reboot itself. */
export const configure = plainVerb('soft-reboot', 'SoftReboot', 'rebooting');
