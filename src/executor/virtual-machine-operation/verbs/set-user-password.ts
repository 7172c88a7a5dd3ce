import { hasAgentChannel } from '../../virtual-machine/power.ts';
import { OperationFailedError, type OperationRun } from '../operation-run.ts';
import { needsAwakeGuest, type Verb } from '../verb.ts';

/** SetUserPassword, through the guest agent: the same twice. */
export const setUserPassword: Verb = { firstStep: 'Acting', check: needsAwakeGuest, step: setPassword };

async function setPassword(run: OperationRun): Promise<'over'> {
  const { user = '', secretRef, encrypted } = run.operation.spec.setUserPassword ?? {};
  const { secrets, signal } = run.context;
  const name = secretRef?.name ?? '';
  const key = secretRef?.key ?? 'password';
  const secret = await secrets.find({ namespace: run.operation.metadata.namespace, name }, { signal });
  const value = secret?.data?.[key];
  if (value === undefined) {
    throw new OperationFailedError('SecretNotFound', `there is no key "${key}" in a Secret "${name}"`);
  }
  if (!hasAgentChannel(run.view?.live)) {
    throw new OperationFailedError('AgentUnavailable', 'the machine has no channel for the guest agent');
  }
  const password = Buffer.from(value, 'base64')
    .toString('utf8')
    .replace(/\r?\n$/, '');
  await run.act(({ domain }, options) =>
    domain.guest.setUserPassword(user, password, { encrypted: encrypted === true, ...options }),
  );
  return run.done(`the password of ${user} was set`);
}
