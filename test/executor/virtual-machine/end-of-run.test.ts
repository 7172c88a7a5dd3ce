import { describe, expect, it } from 'vitest';
import type { VirtualMachine, VirtualMachineStatus } from '../../../src/api/virtual-machine.ts';
import type { DomainView } from '../../../src/executor/virtual-machine/domain-view.ts';
import { MachineStatus } from '../../../src/executor/virtual-machine/machine-status.ts';
import { noticeEnd } from '../../../src/executor/virtual-machine/notice-end.ts';
import { report } from '../../../src/executor/virtual-machine/report.ts';
import type { Round } from '../../../src/executor/virtual-machine/round.ts';
import type { ResourceClient } from '../../../src/kube/resource-client.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** A machine that runs by its status, at a server that takes what is written. */
class Machine {
  readonly #clock = new ManualClock();
  #status: VirtualMachineStatus = { power: {}, domain: { name: 'shop.web', uuid: 'u', id: 7, boots: 1 } };

  /** One round over what libvirt says; `found` at its end, when it is another. */
  async round(begun: Partial<DomainView>, found = begun): Promise<VirtualMachineStatus> {
    const machine = {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name: 'web', namespace: 'shop', uid: 'c0ffee' },
      spec: { runStrategy: 'Always', nodeName: 'node-1' },
      status: this.#status,
    } as VirtualMachine;
    const client = {
      mergePatch: () => Promise.resolve({ ...machine, status: structuredClone(status.next) }),
    } as unknown as ResourceClient<VirtualMachine>;
    const { signal } = new AbortController();
    const status: MachineStatus = new MachineStatus(client, machine, () => this.#clock.now(), signal);
    const round = {
      status,
      view: this.#view(begun),
      parts: { clock: this.#clock, nodeName: 'node-1', record: () => undefined },
      volumes: [],
      limits: new Set(),
      plugged: { cutOff: [] },
      options: {},
    } as unknown as Round;
    noticeEnd(round);
    round.view = this.#view(found);
    await report(round);
    this.#status = structuredClone(status.next);
    return this.#status;
  }

  #view(view: Partial<DomainView>): DomainView {
    return { domain: { name: 'shop.web', uuid: 'u' }, hasManagedSave: false, ...view } as unknown as DomainView;
  }
}

const running: Partial<DomainView> = { state: 'running', id: 7, libvirtState: { state: 'running', reason: 'booted' } };
const crashed: Partial<DomainView> = {
  state: 'crashed',
  id: 7,
  libvirtState: { state: 'crashed', reason: 'panicked' },
};
const off: Partial<DomainView> = { state: 'off', libvirtState: { state: 'shutoff', reason: 'crashed' } };

describe('the end of a run', () => {
  it('is noticed when it comes while the machine is looked at', async () => {
    const machine = new Machine();
    const { lastStop, domain, failures } = await machine.round(running, off);
    expect([lastStop?.reason, domain?.id, failures?.count]).toEqual(['Crashed', undefined, 1]);
  });

  it('counts once, when libvirt shows the domain as crashed before it is off', async () => {
    const machine = new Machine();
    await machine.round(crashed);
    const { lastStop, domain, failures } = await machine.round(off);
    expect([lastStop?.reason, domain?.id, failures?.count]).toEqual(['Crashed', undefined, 1]);
  });
});
