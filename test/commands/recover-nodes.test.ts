import { describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import { nodeAt } from '../../src/commands/recover/open-hosts.ts';

const uri = 'qemu:///system';
const [uuid, other] = ['aaaaaaaa-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-000000000002'];

function node(name: string, systemUUID: string | undefined, labels?: Record<string, string>): Hypervisor {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'Hypervisor',
    metadata: { name, ...(labels === undefined ? {} : { labels }) },
    spec: {},
    status: systemUUID === undefined ? {} : { nodeInfo: { systemUUID } },
  };
}

describe('the node that virtctl recover brings machines back on', () => {
  const labels = { 'kubernetes.io/hostname': 'one.example' };
  const nodes = [node('node-1', uuid.toUpperCase(), labels), node('node-2', other), node('node-3', undefined)];

  it('is the one whose Hypervisor has the UUID of the host, with its labels', () => {
    expect(nodeAt(nodes, uuid, undefined, uri)).toEqual({ name: 'node-1', labels });
    expect(nodeAt(nodes, uuid, 'node-1', uri)).toEqual({ name: 'node-1', labels });
  });

  it('is never guessed where no Hypervisor has it', () => {
    expect(() => nodeAt([], uuid, undefined, uri)).toThrow(`no Hypervisor is that of ${uri}`);
    expect(() => nodeAt(nodes, '', undefined, uri)).toThrow(`no Hypervisor is that of ${uri}`);
  });

  it('is the one that is named where its Hypervisor is lost', () => {
    const labels = { 'kubernetes.io/hostname': 'node-9' };
    expect(nodeAt([], uuid, 'node-9', uri)).toEqual({ name: 'node-9', labels });
  });

  it('is not another one that is named, be it there or misspelt', () => {
    expect(() => nodeAt(nodes, uuid, 'node-2', uri)).toThrow(`the libvirt at ${uri} is not that of node node-2`);
    expect(() => nodeAt(nodes, uuid, 'nod-1', uri)).toThrow(
      `the libvirt at ${uri} is that of node node-1, not of nod-1`,
    );
  });

  it('has to be named where several hosts say that they are the same one', () => {
    const clones = [node('node-1', uuid), node('node-2', uuid)];
    expect(() => nodeAt(clones, uuid, undefined, uri)).toThrow('the nodes node-1 and node-2 have the same host UUID');
    expect(nodeAt(clones, uuid, 'node-2', uri).name).toBe('node-2');
  });

  it.each(['', 'Node_1', '-a'])('cannot be called %j', async (name) => {
    const { exitCode, stderr } = await commandLine(['recover', '--node', name]);
    expect({ exitCode, stderr }).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('cannot be a name') as string,
    });
  });
});
