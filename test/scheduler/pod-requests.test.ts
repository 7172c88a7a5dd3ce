import { describe, expect, it } from 'vitest';
import { podRequests, slimPod, type Pod } from '../../src/scheduler/pod-requests.ts';

const wants = (cpu: string, memory: string) => ({ resources: { requests: { cpu, memory } } });
const pod = (spec: Pod['spec'], phase = 'Running'): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'default', uid: 'p' },
  spec: { nodeName: 'a', ...spec },
  status: { phase },
});
const mib = 2 ** 20;

describe('what a pod takes from its node', () => {
  it('is the sum of its containers, and a limit where there is no request', () => {
    const limited = {
      resources: { requests: { cpu: '250m' }, limits: { cpu: '1', memory: '64Mi', 'hugepages-2Mi': '8Mi' } },
    };
    expect(podRequests(pod({ containers: [wants('500m', '128Mi'), limited] }))).toEqual({
      cpu: 0.75,
      memory: 192 * mib,
      'hugepages-2Mi': 8 * mib,
    });
  });

  it('is the greediest init container where that is more, beside the sidecars before it', () => {
    const sidecar = { ...wants('100m', '10Mi'), restartPolicy: 'Always' };
    const spec = {
      containers: [wants('1', '100Mi')],
      initContainers: [wants('4', '10Mi'), sidecar, wants('2', '500Mi')],
    };
    expect(podRequests(pod(spec))).toEqual({ cpu: 4, memory: 510 * mib });
    const gentle = { containers: [wants('1', '100Mi')], initContainers: [sidecar, wants('100m', '1Mi')] };
    expect(podRequests(pod(gentle))).toEqual({ cpu: 1.1, memory: 110 * mib });
  });

  it('includes the overhead of its runtime class', () => {
    expect(podRequests(pod({ containers: [wants('1', '1Mi')], overhead: { memory: '120Mi' } }))).toEqual({
      cpu: 1,
      memory: 121 * mib,
    });
  });

  it('is nothing once it has ended', () => {
    const containers = [wants('1', '1Mi')];
    expect(slimPod(pod({ containers }, 'Succeeded')).spec).toEqual({ nodeName: 'a', requests: {} });
    expect(slimPod(pod({ containers })).spec).toEqual({ nodeName: 'a', requests: { cpu: 1, memory: mib } });
  });
});
