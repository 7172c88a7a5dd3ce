import type { OperationVerb } from '../../api/virtual-machine-operation.ts';
import type { Verb } from './verb.ts';
import { migrate } from './verbs/migrate.ts';
import { pause, unpause } from './verbs/pause.ts';
import { restart } from './verbs/restart.ts';
import { revert } from './verbs/revert.ts';
import { save } from './verbs/save.ts';
import { sendKey } from './verbs/send-key.ts';
import { setUserPassword } from './verbs/set-user-password.ts';
import { start } from './verbs/start.ts';
import { stop } from './verbs/stop.ts';
import { injectNmi, reset, softReboot } from './verbs/while-paused.ts';

/** How each verb of an operation is done. */
export const verbs: Readonly<Record<OperationVerb, Verb>> = {
  Start: start,
  Stop: stop,
  Restart: restart,
  Reset: reset,
  InjectNMI: injectNmi,
  SoftReboot: softReboot,
  Pause: pause,
  Unpause: unpause,
  SetUserPassword: setUserPassword,
  SendKey: sendKey,
  Save: save,
  Revert: revert,
  Migrate: migrate,
};
