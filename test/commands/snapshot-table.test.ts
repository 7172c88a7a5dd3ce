import { describe, expect, it } from 'vitest';
import type { VirtualMachineSnapshot } from '../../src/api/virtual-machine-snapshot.ts';
import { snapshotLines, snapshotTree } from '../../src/commands/snapshot/snapshot-table.ts';

const nowMs = Date.parse('2026-01-01T01:00:00Z');
const snapshot = (
  name: string,
  minute: number,
  parent: string | undefined,
  more: Partial<NonNullable<VirtualMachineSnapshot['status']>> = {},
): VirtualMachineSnapshot => ({
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachineSnapshot',
  metadata: { name },
  spec: { virtualMachine: 'web', ...(name === 'b' ? { description: 'before\nmore' } : {}) },
  status: {
    phase: 'Ready',
    mode: 'External',
    memory: false,
    creationTime: `2026-01-01T00:${String(minute).padStart(2, '0')}:00Z`,
    ...(parent === undefined ? {} : { parent }),
    ...more,
  },
});

describe('snapshots as they are shown', () => {
  it('are a tree, the current one marked, and one whose parent is gone a root', () => {
    const all = [
      snapshot('c', 30, 'a', { memory: true, current: true }),
      snapshot('a', 0, undefined),
      snapshot('b', 10, 'a'),
      snapshot('d', 40, 'b', { phase: 'Deleting' }),
      snapshot('e', 50, 'gone'),
    ];
    expect(snapshotTree(all, nowMs)).toBe(
      [
        'a (external, 60m)',
        '├─ b (external, 50m) before',
        '│  └─ d (external, Deleting, 20m)',
        '└─ * c (external, memory, 30m)',
        'e (external, 10m)',
        '',
      ].join('\n'),
    );
  });

  it('come to an end also when somebody wrote a circle', () => {
    expect(snapshotTree([snapshot('a', 0, 'b'), snapshot('b', 1, 'a')], nowMs)).toBe(
      'a (external, 60m)\n└─ b (external, 59m) before\n',
    );
  });

  it('are listed with how far their merge is', () => {
    const lines = snapshotLines(
      [snapshot('a', 0, undefined, { phase: 'Deleting', percent: 40, size: '12582912' })],
      nowMs,
      false,
    );
    expect(lines).toEqual([['a', 'web', 'Deleting 40%', 'External', 'no', '', '', '', '', '12Mi', '60m']]);
  });
});
