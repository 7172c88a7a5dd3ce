import { describe, expect, it } from 'vitest';
import { answerTo, migrationNotes } from '../../../src/executor/migration/migration-notes.ts';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';

const noted = (context: Readonly<Record<string, string>>): ReturnType<typeof migrationNotes> => {
  const operation: VirtualMachineOperation = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachineOperation', metadata: {} },
    spec: { virtualMachine: 'web', verb: 'Migrate' },
    status: { context },
  };
  return migrationNotes(operation);
};

describe('what is noted of a migration', () => {
  it('counts an answer only for the question that was asked last', () => {
    expect(noted({ asked: 'q2', ...answerTo('q1', 'none') }).answer).toBeUndefined();
    expect(noted({ asked: 'q2', ...answerTo('q2', 'running') }).answer).toBe('running');
    expect(noted(answerTo('q1', 'off')).answer).toBeUndefined();
  });

  it('tells a guest without disks from one whose disks are not known yet', () => {
    expect(noted({}).disks).toBeUndefined();
    expect(noted({ disks: '[]' }).disks).toEqual([]);
  });
});
