import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { explainMissingFile } from '../../../src/executor/virtual-machine/missing-file.ts';

const machine: VirtualMachine = {
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'web' },
  spec: {
    volumes: [
      { name: 'data', hostPath: { path: '/srv/a.raw' } },
      { name: 'root', virtualDisk: 'root' },
    ],
  },
  status: { volumes: [{ name: 'root', source: '/pool/root.qcow2' }] },
};
const libvirt = (path: string): string =>
  `Cannot access storage file '${path}' (as uid:64055, gid:108): No such file or directory`;

describe('a start that fails for a file that is missing', () => {
  it('names the volume, the path and the node, and what a hostPath needs', () => {
    expect(explainMissingFile(libvirt('/srv/a.raw'), machine, 'node-1')).toBe(
      'volume data: there is no file /srv/a.raw on node node-1; a hostPath has to be there before the start: put it ' +
        `there, or change the volume (${libvirt('/srv/a.raw')})`,
    );
    const qemu = "internal error: process exited: Could not open '/srv/a.raw': No such file or directory";
    expect(explainMissingFile(qemu, machine, 'node-1')).toContain('volume data: there is no file /srv/a.raw on node');
  });

  it('names the volume whose file was there', () => {
    expect(explainMissingFile(libvirt('/pool/root.qcow2'), machine, 'b')).toMatch(
      /^volume root: there is no file \/pool\/root.qcow2 on node b any more \(Cannot access/,
    );
  });

  it("is told in libvirt's words where it is no volume's, and every other failure too", () => {
    expect(explainMissingFile(libvirt('/else'), machine, 'b')).toBeUndefined();
    const denied = "Cannot access storage file '/srv/a.raw' (as uid:1, gid:1): Permission denied";
    expect(explainMissingFile(denied, machine, 'b')).toBeUndefined();
  });
});
