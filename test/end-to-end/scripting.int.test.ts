import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildVirtctl, type CallResult, type VirtctlProcess } from './virtctl-process.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { guestMachine, untilBoots } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import type { Domain } from '../../src/model/types.gen.ts';

const script = resolve(import.meta.dirname, '../../docs/examples/roll-out.sh');

describe('docs/examples/roll-out.sh', () => {
  let node: ExecutorNode;
  let guest: Guest;
  let virtctl: VirtctlProcess;

  beforeAll(async () => {
    virtctl = buildVirtctl();
    guest = await testGuest();
    node = await startExecutorNode();
    const bin = join(node.libvirtd.dir, 'bin');
    mkdirSync(bin);
    writeFileSync(join(bin, 'virtctl'), `#!/bin/sh\nexec "${process.execPath}" "${virtctl.path}" "$@"\n`);
    chmodSync(join(bin, 'virtctl'), 0o755);
  });
  afterAll(async () => {
    virtctl.remove();
    await node.close();
  });

  function rollOut(domain: Partial<Domain>): Promise<CallResult> {
    const folder = join(node.libvirtd.dir, 'machines');
    mkdirSync(folder, { recursive: true });
    const spec = { nodeName: node.name, ...guestMachine(node, guest, 'web', { domain }) };
    const machine = { apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine', metadata: { name: 'web' }, spec };
    writeFileSync(join(folder, 'web.yaml'), JSON.stringify(machine));
    return virtctl.run(node, 'sh', [script, folder], {
      PATH: `${join(node.libvirtd.dir, 'bin')}:${process.env['PATH']}`,
    });
  }

  it('is a script that a POSIX shell can read', () => {
    expect(spawnSync('sh', ['-n', script])).toMatchObject({ status: 0 });
  });

  it('creates, does nothing twice, changes live, restarts what has to be, and stops before a refusal', async () => {
    expect(await rollOut({})).toMatchObject({ status: 0, stdout: expect.stringContaining('created') as string });
    await untilBoots(node, 'web', 1);
    expect(await rollOut({})).toMatchObject({ status: 0, stdout: expect.stringContaining('nothing to do') as string });
    expect((await rollOut({ title: 'live' })).stdout).not.toContain('is restarted');
    const larger = await rollOut({ title: 'live', memory: { unit: 'MiB', value: 256 } });
    expect(larger).toMatchObject({ status: 0, stdout: expect.stringContaining('is restarted for: memory') as string });
    await untilBoots(node, 'web', 2);
    const before = await node.get('web');
    const refused = await rollOut({ os: { type: { arch: 'x86_64', machine: 'no-such-board', value: 'hvm' } } });
    expect(refused).toMatchObject({ status: 8 });
    expect((await node.get('web')).spec).toEqual(before.spec);
  });
});
