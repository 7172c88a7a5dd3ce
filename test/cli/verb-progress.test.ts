import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { machineStarted, machineStopped } from '../../src/cli/verb-progress.ts';

function machine(status: object | undefined): VirtualMachine {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'shop', generation: 3 },
    spec: { domain: {} },
    status,
  } as unknown as VirtualMachine;
}

describe('waiting for a machine to run', () => {
  it('is over when it runs as this generation wants', () => {
    expect(machineStarted(machine({ observedGeneration: 3, printableStatus: 'Running' }), 3)).toBe(true);
  });

  it('does not take the state of an older generation for an answer', () => {
    expect(machineStarted(machine({ observedGeneration: 2, printableStatus: 'Running' }), 3)).toBe(false);
    expect(machineStarted(machine(undefined), 3)).toBe(false);
  });

  it('ends with the words of libvirt when it cannot start', () => {
    const failed = machine({
      observedGeneration: 3,
      printableStatus: 'Error',
      conditions: [{ type: 'Ready', status: 'False', reason: 'StartFailed', message: 'Cannot access storage file' }],
    });
    expect(() => machineStarted(failed, 3)).toThrow('StartFailed: Cannot access storage file');
  });

  it('goes on while what is missing may still come', () => {
    const pending = machine({
      observedGeneration: 3,
      printableStatus: 'Provisioning',
      conditions: [{ type: 'Ready', status: 'False', reason: 'VolumeNotReady', message: 'being made' }],
    });
    expect(machineStarted(pending, 3)).toBe(false);
  });

  it('fails when the machine is deleted', () => {
    expect(() => machineStarted(undefined, 3)).toThrow('deleted');
  });
});

describe('waiting for a machine to stop', () => {
  it.each([
    [{ observedGeneration: 3, printableStatus: 'Stopped', domain: { state: 'shutoff' } }, true],
    [{ observedGeneration: 3, printableStatus: 'Stopping', domain: { state: 'running' } }, false],
    [{ observedGeneration: 2, printableStatus: 'Stopped', domain: { state: 'shutoff' } }, false],
    [{ observedGeneration: 3, printableStatus: 'Stopped' }, true],
  ])('%j gives %s', (status, expected) => {
    expect(machineStopped(machine(status), 3)).toBe(expected);
  });
});
