import { describe, expect, it } from 'vitest';
import type { RunStrategy, VirtualMachine } from '../../src/api/virtual-machine.ts';
import type { Verb, VerbPlan } from '../../src/cli/verb-plan.ts';
import { planVerb } from '../../src/cli/verb-plan.ts';

function machine(runStrategy: RunStrategy | undefined, printableStatus?: string): VirtualMachine {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { ...(runStrategy === undefined ? {} : { runStrategy }), domain: {} },
    ...(printableStatus === undefined ? {} : { status: { printableStatus } }),
  };
}

const start: Verb = { verb: 'Start', paused: false };
const startPaused: Verb = { verb: 'Start', paused: true };
const stop: Verb = { verb: 'Stop', force: false, gracePeriodSeconds: undefined };
const stopNow: Verb = { verb: 'Stop', force: true, gracePeriodSeconds: undefined };
const stopIn10: Verb = { verb: 'Stop', force: false, gracePeriodSeconds: 10 };

describe('what a verb writes', () => {
  const cases: readonly (readonly [string, Verb, RunStrategy | undefined, string | undefined, VerbPlan])[] = [
    ['start on Halted wishes it to run', start, 'Halted', undefined, { runStrategy: 'Always' }],
    ['start on a running Always has nothing to do', start, 'Always', 'Running', { already: 'running' }],
    ['a spec without strategy counts as Always', start, undefined, 'Running', { already: 'running' }],
    ['start in a crash loop ends the wait', start, 'Always', 'CrashLoopBackOff', { operation: { verb: 'Start' } }],
    ['start on Manual is an operation', start, 'Manual', 'Stopped', { operation: { verb: 'Start' } }],
    [
      'start --paused on Halted leaves the power to the user',
      startPaused,
      'Halted',
      'Stopped',
      { runStrategy: 'Manual', operation: { verb: 'Start', start: { paused: true } } },
    ],
    ['stop on Always wishes it off', stop, 'Always', 'Running', { runStrategy: 'Halted' }],
    ['stop on RerunOnFailure wishes it off', stop, 'RerunOnFailure', 'Running', { runStrategy: 'Halted' }],
    ['stop on Manual is an operation', stop, 'Manual', 'Running', { operation: { verb: 'Stop', stop: {} } }],
    ['stop on Halted only waits', stop, 'Halted', 'Stopping', {}],
    [
      'stop --force on Always does both',
      stopNow,
      'Always',
      'Running',
      { runStrategy: 'Halted', operation: { verb: 'Stop', stop: { force: true } } },
    ],
    [
      'stop --grace-period on one that is stopping hurries it',
      stopIn10,
      'Halted',
      'Stopping',
      { operation: { verb: 'Stop', stop: { gracePeriodSeconds: 10 } } },
    ],
    [
      'restart is an operation',
      { verb: 'Restart', force: false, gracePeriodSeconds: 5 },
      'Always',
      'Running',
      { operation: { verb: 'Restart', restart: { gracePeriodSeconds: 5 } } },
    ],
    [
      'a verb with parameters hands them on',
      { verb: 'SendKey', parameters: { sendKey: { keys: ['KEY_A'] } } },
      'Always',
      'Running',
      { operation: { verb: 'SendKey', sendKey: { keys: ['KEY_A'] } } },
    ],
  ];
  it.each(cases)('%s', (_title, verb, strategy, status, plan) => {
    expect(planVerb(machine(strategy, status), verb)).toEqual(plan);
  });
});
