import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/commands/why/diagnose.ts';
import { diagnose } from '../../src/commands/why/diagnose.ts';

const now = Date.parse('2026-01-01T00:00:00Z');

/** A machine that runs well, with what a case changes merged over it. */
function facts(change: { spec?: object; status?: object; metadata?: object } & Partial<Facts> = {}): Facts {
  const { spec, status, metadata, ...rest } = change;
  return {
    machine: {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name: 'web', namespace: 'shop', uid: 'u', generation: 2, ...metadata },
      spec: { runStrategy: 'Always', nodeName: 'n1', domain: {}, ...spec },
      status: {
        observedGeneration: 2,
        printableStatus: 'Running',
        domain: { name: 'shop.web', state: 'running' },
        conditions: [{ type: 'Ready', status: 'True' }],
        ...status,
      },
    },
    operations: [],
    nodeCount: 1,
    hypervisor: {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'Hypervisor',
      metadata: { name: 'n1' },
      spec: {},
      status: { conditions: [{ type: 'LibvirtConnected', status: 'True' }] },
    },
    executorSeenAt: now - 5000,
    leaseMs: 40_000,
    now,
    ...rest,
  };
}

const notReady = (reason: string, message: string): object => ({
  printableStatus: 'Error',
  domain: { state: 'shutoff' },
  conditions: [{ type: 'Ready', status: 'False', reason, message }],
});

describe('why a machine does not run', () => {
  it('finds nothing wrong with one that runs', () => {
    const { chain, fix } = diagnose(facts());
    expect(chain.every(({ status }) => status === 'ok')).toBe(true);
    expect(fix).toBeUndefined();
  });

  it('tells what of a running machine waits for its next start', () => {
    const restartRequired = [
      { path: 'memory', from: '1', to: '2' },
      { path: 'vcpu.current', message: 'type qemu' },
    ];
    const { summary, chain, fix } = diagnose(facts({ status: { restartRequired } }));
    expect(summary).toBe('Running');
    expect(chain.at(-1)).toEqual({
      about: 'changes',
      status: 'waiting',
      message: 'for the next start: memory, vcpu.current (type qemu)',
    });
    expect(fix).toBe('virtctl restart web -n shop');
  });

  it('tells what the change of a running machine lacks', () => {
    const message = 'volume data: there is no VirtualDisk "web-data"';
    const conditions = [
      { type: 'Ready', status: 'True' },
      { type: 'Synchronized', status: 'False', reason: 'VolumeNotReady', message },
    ];
    const { chain, fix } = diagnose(facts({ status: { conditions } }));
    expect(chain.at(-1)).toMatchObject({ about: 'volumes and networks', status: 'broken' });
    expect(fix).toBe('virtctl create disk web-data --size SIZE -n shop');
  });

  const cases: readonly (readonly [string, Facts, string, string, string | undefined])[] = [
    ['Halted', facts({ spec: { runStrategy: 'Halted' } }), 'power', 'not asked to run', 'virtctl start web -n shop'],
    [
      'Manual and off',
      facts({ spec: { runStrategy: 'Manual' }, status: { domain: { state: 'shutoff' }, printableStatus: 'Stopped' } }),
      'power',
      'only when started',
      'virtctl start web -n shop',
    ],
    ['no node at all', facts({ spec: { nodeName: '' }, nodeCount: 0 }), 'node', 'there are none', 'virtctl executor'],
    [
      'no node that fits',
      facts({
        spec: { nodeName: '' },
        status: {
          conditions: [
            {
              type: 'Scheduled',
              status: 'False',
              message: '3 nodes: 1 cordoned, 2 too little memory (needs 4.1 GiB, free 1.5 GiB, 0.9 GiB)',
            },
          ],
        },
      }),
      'node',
      '3 nodes: 1 cordoned, 2 too little memory (needs 4.1 GiB, free 1.5 GiB, 0.9 GiB)',
      'virtctl node uncordon',
    ],
    [
      'no node with KVM',
      facts({
        spec: { nodeName: '' },
        status: {
          conditions: [{ type: 'Scheduled', status: 'False', message: '1 node: 1 where KVM cannot be used (…)' }],
        },
      }),
      'node',
      'where KVM cannot be used',
      'kubectl patch hv NODE',
    ],
    ['a node that never reported', facts({ hypervisor: undefined }), 'executor', 'never reported', 'virtctl executor'],
    ['a dead executor', facts({ executorSeenAt: now - 90_000 }), 'executor', 'not been heard of for 90 s', 'systemctl'],
    ['a change not taken up', facts({ metadata: { generation: 3 } }), 'executor', 'not taken up', undefined],
    [
      'a missing volume',
      facts({ status: notReady('VolumeNotReady', 'vdisk/web-root is being made') }),
      'volumes and networks',
      'web-root',
      'virtctl get vdisk -n shop',
    ],
    [
      'a definition that libvirt refuses',
      facts({
        status: {
          printableStatus: 'Error',
          conditions: [{ type: 'Synchronized', status: 'False', reason: 'DefineFailed', message: 'XML error: bad' }],
        },
      }),
      'definition',
      'XML error: bad',
      'virtctl edit vm web',
    ],
    ['no KVM', facts({ status: notReady('KVMUnusable', 'no KVM on n1') }), 'definition', 'no KVM', 'virtctl doctor'],
    [
      'a start that fails',
      facts({ status: notReady('StartFailed', 'Cannot access /x.qcow2') }),
      'guest',
      'Cannot access /x.qcow2',
      'virtctl logs web',
    ],
    [
      'a crash loop',
      facts({
        status: {
          printableStatus: 'CrashLoopBackOff',
          domain: { state: 'shutoff' },
          failures: { count: 3, message: 'crashed', nextAttemptAt: '2026-01-01T00:00:40Z' },
        },
      }),
      'guest',
      'failed 3 times: crashed; next attempt in 40 s',
      'virtctl logs web',
    ],
    [
      'paused',
      facts({ status: { printableStatus: 'Paused', domain: { state: 'paused', reason: 'ioerror' } } }),
      'guest',
      'ioerror',
      'virtctl unpause web',
    ],
  ];
  it.each(cases)('%s', (_title, known, about, message, fix) => {
    const diagnosis = diagnose(known);
    const last = diagnosis.chain.at(-1);
    expect(last?.about).toBe(about);
    expect(last?.message).toContain(message);
    expect(diagnosis.summary).toContain(message);
    if (fix === undefined) expect(diagnosis.fix).toBeUndefined();
    else expect(diagnosis.fix).toContain(fix);
  });
});
