import { describe, expect, it } from 'vitest';
import type { VirtualMachine, VirtualMachineStatus } from '../../../src/api/virtual-machine.ts';
import { defineMachine } from '../../../src/executor/virtual-machine/define-machine.ts';
import type { DomainView } from '../../../src/executor/virtual-machine/domain-view.ts';
import { MachineStatus } from '../../../src/executor/virtual-machine/machine-status.ts';
import type { Round } from '../../../src/executor/virtual-machine/round.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import type { EventRecord } from '../../../src/reconcile/event-recorder.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const uuid = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';
const wanted = { name: 'shop.web', uuid, title: 'web' };
const refusal = new LibvirtError('domainDefineXmlFlags', {
  ...{ code: ErrorNumber.INTERNAL_ERROR, domain: 0, message: 'this is as far as the test goes', level: 2 },
  ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
});

/** What defining does to a running domain that is as it was marked, except that it has no definition any more. */
async function defineUndefined(
  driftPolicy: 'Enforce' | 'Report',
): Promise<{ defined: string[]; status: VirtualMachineStatus; events: EventRecord[] }> {
  const spec = { nodeName: 'node-1', driftPolicy };
  const machine: VirtualMachine = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'shop', uid: uuid },
    spec,
  };
  const defined: string[] = [];
  const events: EventRecord[] = [];
  const mark = {
    namespace: 'shop',
    name: 'web',
    uid: uuid,
    generation: 1,
    spec,
    metadata: {},
    applied: wanted,
    ignored: [],
  };
  const view = {
    domain: { name: 'shop.web', uuid },
    ...{ state: 'running', isPersistent: false, inactive: wanted, inactiveOverlay: [], mark },
  } as unknown as DomainView;
  const status = new MachineStatus({} as never, machine, () => 0, new AbortController().signal);
  const round = {
    ...{ status, wanted, view, options: {}, drift: [] },
    libvirt: {
      domains: {
        defineXml: (xml: string) => {
          defined.push(xml);
          return Promise.reject(refusal);
        },
      },
    },
    parts: { nodeName: 'node-1', clock: new ManualClock(), record: (event: EventRecord) => void events.push(event) },
  } as unknown as Round;
  await defineMachine(round);
  return { defined, status: status.next, events };
}

describe('a running domain that somebody undefined', () => {
  it('is defined again at once', async () => {
    const { defined } = await defineUndefined('Enforce');
    expect(defined).toHaveLength(1);
    expect(defined[0]).toContain(uuid);
  });

  it('is only told of where changes are only to be reported', async () => {
    const { defined, status, events } = await defineUndefined('Report');
    expect(defined).toEqual([]);
    expect(status.drift).toMatchObject([{ path: 'definition' }]);
    expect(status.conditions).toMatchObject([{ type: 'Synchronized', status: 'False', reason: 'Drifted' }]);
    expect(events[0]?.note).toContain('undefined while it runs');
  });
});
