import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import { validateObject } from '../../src/api/validate.ts';
import type { Facts } from '../../src/commands/why/diagnose.ts';
import { diagnose } from '../../src/commands/why/diagnose.ts';
import { foreignMessage } from '../../src/executor/virtual-machine/foreign-domain.ts';

const now = Date.parse('2026-01-01T00:00:00Z');

/** A node that is well, and can use KVM. */
function node(name: string, spec: Hypervisor['spec'] = {}, kvm: 'True' | 'False' = 'True'): Hypervisor {
  const lastTransitionTime = '2026-01-01T00:00:00Z';
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'Hypervisor',
    metadata: { name },
    spec,
    status: {
      conditions: [
        { type: 'LibvirtConnected', status: 'True', lastTransitionTime },
        { type: 'KVMUsable', status: kvm, lastTransitionTime },
      ],
    },
  };
}

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
    nodes: [node('n1')],
    hypervisor: node('n1'),
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
      'Halted, with no node that fits',
      facts({
        spec: { runStrategy: 'Halted', nodeName: '' },
        status: { conditions: [{ type: 'Scheduled', status: 'False', message: '0 of 2 nodes fit' }] },
      }),
      'power',
      'not asked to run (Halted); and no node takes it: 0 of 2 nodes fit',
      'virtctl start web -n shop',
    ],
    [
      'Manual and off',
      facts({ spec: { runStrategy: 'Manual' }, status: { domain: { state: 'shutoff' }, printableStatus: 'Stopped' } }),
      'power',
      'only when started',
      'virtctl start web -n shop',
    ],
    ['no node at all', facts({ spec: { nodeName: '' }, nodes: [] }), 'node', 'there are none', 'virtctl executor'],
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
    [
      "a domain of its name that is somebody else's",
      facts({
        status: {
          printableStatus: 'Error',
          conditions: [
            {
              ...{ type: 'Synchronized', status: 'False', reason: 'ForeignDomain' },
              message: foreignMessage(
                {
                  apiVersion: 'virtctl.dev/v1alpha1',
                  kind: 'VirtualMachine',
                  metadata: { name: 'web', namespace: 'shop' },
                  spec: {},
                },
                { domain: { name: 'shop.web', uuid: 'u' } } as never,
                'n1',
              ),
            },
          ],
        },
      }),
      'definition',
      'belongs to somebody else',
      'virsh domrename shop.web NEW-NAME',
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
      'a start that libvirt does not end',
      facts({ status: notReady('StartNotEnding', 'remove /run/libvirt/qemu/default.web.xml') }),
      'guest',
      'default.web.xml',
      "else mend libvirt's note",
    ],
    [
      'a migration whose operation was removed by force',
      facts({
        status: {
          printableStatus: 'Migrating',
          domain: { state: 'running' },
          migration: { phase: 'Running', targetNode: 'n2' },
          conditions: [
            {
              type: 'Ready',
              status: 'Unknown',
              reason: 'MigrationUnclear',
              message: 'nothing is started before n2 says',
            },
          ],
        },
      }),
      'migration',
      'nothing is started before n2 says',
      'virtctl node describe n2',
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
      'a file of the host that is not there',
      facts({
        status: {
          printableStatus: 'CrashLoopBackOff',
          domain: { state: 'shutoff' },
          failures: {
            count: 1,
            message: 'volume data: there is no file /srv/a.raw on node a; a hostPath has to be there (Cannot access …)',
          },
        },
      }),
      'guest',
      'volume data: there is no file /srv/a.raw on node a;',
      'ls -l /srv/a.raw, on a; then virtctl start web',
    ],
    [
      'paused',
      facts({ status: { printableStatus: 'Paused', domain: { state: 'paused', reason: 'user' } } }),
      'guest',
      'its CPUs are paused (user)',
      'virtctl unpause web -n shop',
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

  it.each([
    [
      'there is no space left',
      'volume data (/var/lib/virtctl/data.qcow2): there is no space left; once that is mended, unpause it',
      'free space first (df -h /var/lib/virtctl, on n1); then virtctl unpause web -n shop',
    ],
    [
      'a disk cannot be read',
      'volume data (/srv/data.qcow2): it cannot be read or written; once that is mended, unpause it',
      'see to the storage first (df -h and dmesg, on n1); then virtctl unpause web -n shop',
    ],
  ])('has the storage mended before a guest is let go on that is held because %s', (_title, message, fix) => {
    const conditions = [{ type: 'Paused', status: 'True', reason: 'Paused', message }];
    const status = { printableStatus: 'Paused', domain: { state: 'paused', reason: 'io-error' }, conditions };
    const diagnosis = diagnose(facts({ status }));
    expect(diagnosis.summary).toBe(`Paused: its CPUs are paused (io-error): ${message}`);
    expect(diagnosis.fix).toBe(fix);
  });

  describe('while it is being deleted', () => {
    const deleted = { deletionTimestamp: '2025-12-31T23:59:00Z', finalizers: ['virtctl.dev/domain'] };
    const status = {
      printableStatus: 'Terminating',
      conditions: [{ type: 'Ready', status: 'False', reason: 'Terminating', message: 'the guest is shutting down' }],
    };

    it('says first that the executor is away, also of a machine that is protected', () => {
      const spec = { deletionProtection: true };
      const { chain, fix } = diagnose(facts({ metadata: deleted, spec, status, executorSeenAt: now - 90_000 }));
      expect(chain.map(({ about }) => about)).toEqual(['executor']);
      expect(chain[0]?.message).toContain('not been heard of for 90 s');
      expect(fix).toContain('systemctl status virtctl-executor');
    });

    it('says that it is protected, and how that is lifted', () => {
      const { chain, fix } = diagnose(facts({ metadata: deleted, spec: { deletionProtection: true }, status }));
      expect(chain.map((link) => [link.about, link.status])).toEqual([
        ['executor', 'ok'],
        ['deletion', 'broken'],
      ]);
      expect(chain[1]?.message).toContain('protected');
      expect(fix).toBe(`kubectl patch vm web -n shop --type merge -p '{"spec":{"deletionProtection":false}}'`);
    });

    it('says what its executor is at', () => {
      expect(diagnose(facts({ metadata: deleted, status }))).toMatchObject({
        summary: 'Terminating: it is being deleted: the guest is shutting down',
        fix: undefined,
      });
    });

    it("names others' finalizers, for which no executor is needed", () => {
      const metadata = { ...deleted, finalizers: ['example.org/backup'] };
      const { chain } = diagnose(facts({ metadata, status, executorSeenAt: undefined }));
      expect(chain).toEqual([
        { about: 'deletion', status: 'waiting', message: 'it is being deleted; waits for example.org/backup' },
      ]);
    });
  });

  it.each([
    ['a disk', { virtualDisk: 'web-data' }, 'virtctl describe vdisk web-data -n shop'],
    ['an empty disk in a pool', { emptyDisk: { pool: 'fast' } }, 'virtctl describe vdisk web-data -n shop'],
    ['a file of the node', { hostPath: { path: '/srv/a.raw' } }, 'virtctl describe vm web -n shop'],
  ])('shows where to look for a volume that failed and is %s', (_title, source, fix) => {
    const spec = { volumes: [{ name: 'data', ...source }] };
    const status = { volumes: [{ name: 'data', phase: 'Failed', message: 'no such pool' }] };
    const diagnosis = diagnose(facts({ spec, status }));
    expect(diagnosis.summary).toBe('Running: volume data: no such pool');
    expect(diagnosis.fix).toBe(fix);
  });

  it('shows the disk that has failed', () => {
    const status = notReady('VolumeNotReady', 'volume data: VirtualDisk "shared-data" is Failed: no space');
    expect(diagnose(facts({ status })).fix).toBe('virtctl describe vdisk shared-data -n shop');
  });

  it.each([
    ['VolumeNotReady', 'VirtualDisk', 'virtctl create disk lan.a --size SIZE -n shop'],
    ['VolumeNotReady', 'VirtualImage', 'virtctl image upload lan.a FILE -n shop'],
    ['VolumeNotReady', 'ConfigMap', 'kubectl create configmap lan.a --from-file=FILE -n shop'],
    ['SecretNotFound', 'Secret', 'kubectl create secret generic lan.a --from-file=KEY=FILE -n shop'],
  ])('%s: gives the command that makes a %s', (reason, kind, fix) => {
    const status = notReady(reason, `volume data: there is no ${kind} "lan.a"`);
    expect(diagnose(facts({ status })).fix).toBe(fix);
  });

  it('gives a command that makes a network which is valid once its addresses are filled in', () => {
    const status = notReady('NetworkNotReady', 'interface lan: there is no VirtualNetwork "front"');
    const { fix = '' } = diagnose(facts({ status }));
    const [, manifest = ''] = /^echo '([^']+)' \| virtctl create -f - -n shop$/.exec(fix) ?? [];
    const addresses = { ADDRESS: '10.20.0.1', FIRST: '10.20.0.100', LAST: '10.20.0.200' };
    const filled = manifest.replace(/ADDRESS|FIRST|LAST/g, (word) => addresses[word as keyof typeof addresses]);
    const network: unknown = parse(filled);
    expect(network).toMatchObject({ kind: 'VirtualNetwork', metadata: { name: 'front' } });
    expect(validateObject(network)).toEqual([]);
  });

  describe('where no node fits', () => {
    const waiting = (message: string, ...nodes: Hypervisor[]): string | undefined => {
      const status = { conditions: [{ type: 'Scheduled', status: 'False', message }] };
      return diagnose(facts({ spec: { nodeName: '' }, status, nodes })).fix;
    };

    it('names the cordoned node', () => {
      const cordoned = node('n2', { unschedulable: true });
      expect(waiting('2 nodes: 1 cordoned, 1 not ready', node('n1'), cordoned)).toBe('virtctl node uncordon n2');
    });

    it('names some of many cordoned nodes', () => {
      const many = Array.from({ length: 9 }, (_none, index) => node(`n${index}`, { unschedulable: true }));
      expect(waiting('9 nodes: 9 cordoned', ...many)).toBe('virtctl node uncordon n0 (or n1, n2, n3, n4, n5, …)');
    });

    it('names the node without KVM where emulation is not allowed', () => {
      const nodes = [node('n1'), node('n2', { allowEmulation: true }, 'False'), node('n3', {}, 'False')];
      expect(waiting('3 nodes: 1 where KVM cannot be used (…), 2 not ready', ...nodes)).toBe(
        `kubectl patch hv n3 --type merge -p '{"spec":{"allowEmulation":true}}'`,
      );
    });
  });

  describe('of which something was changed behind our back', () => {
    const drift = [{ path: 'title', from: '"other"', to: '"mine"' }];
    const drifted = { drift, conditions: [{ type: 'Synchronized', status: 'False', reason: 'Drifted' }] };
    const told = 'changed behind our back, and left so: title (is "other", spec has "mine")';

    it('says what is left so, and how it is put right', () => {
      const { summary, chain, fix } = diagnose(facts({ status: drifted }));
      expect(summary).toBe('Running');
      expect(chain.at(-1)).toEqual({ about: 'drift', status: 'waiting', message: told });
      expect(fix).toBe(`kubectl patch vm web -n shop --type merge -p '{"spec":{"driftPolicy":"Enforce"}}'`);
    });

    it('tells of what waits for a restart too, and mends that first', () => {
      const { chain, fix } = diagnose(facts({ status: { ...drifted, restartRequired: [{ path: 'memory' }] } }));
      expect(chain.slice(-2).map(({ about }) => about)).toEqual(['changes', 'drift']);
      expect(fix).toBe('virtctl restart web -n shop');
    });

    it('says nothing of what was put right', () => {
      const conditions = [{ type: 'Synchronized', status: 'True', reason: 'DriftCorrected' }];
      const { chain, fix } = diagnose(facts({ status: { drift, conditions } }));
      expect(chain.map(({ about }) => about)).not.toContain('drift');
      expect(fix).toBeUndefined();
    });
  });
});
