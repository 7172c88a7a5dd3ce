import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { Admission } from '../../src/controller/webhook/admission.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** Asks whether a machine whose domain nobody has told of yet may change its node from `a`. */
async function review(to: string, cached: readonly string[], stored: readonly string[]) {
  const asked: string[] = [];
  const admission = new Admission({
    caches: {
      machines: { onChange: () => () => undefined, byIndex: () => [], get: () => undefined },
      find: (kind: string, _namespace: string | undefined, name: string) =>
        kind === 'Hypervisor' && cached.includes(name) ? { metadata: { name } } : undefined,
      networks: () => [],
    } as unknown as ConstructorParameters<typeof Admission>[0]['caches'],
    machines: { listAll: () => Promise.resolve({ items: [] }) } as never,
    hypervisors: {
      find: ({ name }: { name: string }) => {
        asked.push(name);
        return Promise.resolve(stored.includes(name) ? { metadata: { name } } : undefined);
      },
    } as never,
    clock: new ManualClock(),
  });
  const machineOn = (nodeName: string): VirtualMachine => ({
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine' },
    metadata: { name: 'web', namespace: 'shop', uid: 'u' },
    spec: { nodeName, domain: { memory: { unit: 'MiB', value: 64 } } },
  });
  const kind = { group: 'virtctl.dev', version: 'v1alpha1', kind: 'VirtualMachine' };
  const request = {
    ...{ uid: 'r', kind, operation: 'UPDATE', namespace: 'shop', name: 'web' },
    ...{ object: machineOn(to), oldObject: machineOn('a') },
  };
  const body = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request };
  const answer = await admission.review(body, new AbortController().signal);
  return { allowed: answer?.response.allowed, asked };
}

describe('a change of the node of a machine', () => {
  it('is refused where the node is there, though the cache has not heard of it', async () => {
    expect(await review('b', [], ['a'])).toEqual({ allowed: false, asked: ['a'] });
  });

  it('is allowed where the node is not there', async () => {
    expect(await review('b', [], [])).toEqual({ allowed: true, asked: ['a'] });
  });

  it('is allowed where the node is gone, though the cache has it still', async () => {
    expect(await review('b', ['a'], [])).toEqual({ allowed: true, asked: ['a'] });
  });

  it('asks nobody where the node stays', async () => {
    expect(await review('a', ['a'], ['a'])).toEqual({ allowed: true, asked: [] });
  });
});
