import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findFreePort } from '../support/child-process.ts';
import { commandLine } from '../support/command-line.ts';
import { diskContent, writeDisk } from '../support/disk-content.ts';
import { ExecutorNode, startExecutorNode } from '../support/executor-node.ts';
import { installKinds } from '../support/install-kinds.ts';
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts';
import { SnapshotWorld } from '../support/snapshot-world.ts';
import { accessManifests } from '../../src/commands/install/access-rules.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import type { KubeObject } from '../../src/kube/object.ts';

const rbac = 'rbac.authorization.k8s.io';
const root = join(import.meta.dirname, '../..');

describe('reverting with an executor that has the rights of an installation, and no more', () => {
  let api: KubeApiserver;
  let admin: ExecutorNode;
  let controller: ChildProcess;
  let world: SnapshotWorld;

  beforeAll(async () => {
    api = await startKubeApiserver();
    await installKinds(api);
    admin = await startExecutorNode({ kubeconfig: api.kubeconfigPath, idle: true });
    for (const name of ['virtctl-system', 'virtctl-node-lease']) {
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
      await admin.client.resource<KubeObject>(builtin.namespaces).apply(namespace);
    }
    for (const manifest of accessManifests()) {
      if (manifest.metadata.name !== 'virtctl-executor' || manifest.kind === 'ServiceAccount') continue;
      const subjects = [{ apiGroup: rbac, kind: 'User', name: 'nobody' }];
      const { kind } = manifest;
      const plural = `${kind.toLowerCase()}s`;
      const type = { group: rbac, version: 'v1', kind, plural, namespaced: !kind.startsWith('Cluster') };
      const object = kind.endsWith('Binding') ? { ...manifest, subjects } : manifest;
      await admin.client.resource<KubeObject>(type).apply(object);
    }
    controller = spawn(
      process.execPath,
      ['--import', 'tsx', 'bin/virtctl.ts', 'controller', '--no-webhook', '--kubeconfig', api.kubeconfigPath],
      { cwd: root, stdio: ['ignore', 'ignore', 'ignore'] },
    );
    const limited = join(admin.libvirtd.dir, 'limited.kubeconfig');
    const text = await readFile(api.kubeconfigPath, 'utf8');
    await writeFile(limited, text.replaceAll(api.adminToken, api.nobodyToken));
    const { libvirtd, client } = admin;
    const node = new ExecutorNode(libvirtd, undefined, client, limited, libvirtd.uri, await findFreePort());
    await node.startExecutor();
    world = new SnapshotWorld(node, join(libvirtd.dir, 'pool'));
    await world.pool('local', world.folder);
  });
  afterAll(async () => {
    await world.node.stopExecutor();
    const ended = once(controller, 'exit');
    controller.kill();
    await ended;
    await admin.close();
    await api.stop();
  });

  it('touches nothing when it may not restore the spec, and the command does so with the rights of the user', async () => {
    const { node, disks } = world;
    const active = async (): Promise<{ path: string; format: string }> => {
      const { path = '', format = '' } = (await disks.get(world.at('rights'))).status ?? {};
      return { path, format };
    };
    const write = async (byte: number): Promise<string> => {
      const { path, format } = await active();
      await writeDisk(path, format, { byte, offsetBytes: 0, bytes: 1024 * 1024 });
      return diskContent(path, format);
    };
    await world.machine('rights', { capacity: '8Mi' }, { runStrategy: 'Halted' });
    const then = await write(1);
    await world.take('rights', 'r1', { mode: 'External' });
    const now = await write(2);
    await node.patch('rights', { domain: { memory: { unit: 'MiB', value: 256 }, title: 'later' } });
    await node.untilObserved('rights');

    const before = await active();
    const { status } = await node.operate('rights', 'Revert', { revert: { snapshot: 'r1', restoreSpec: true } });
    expect(status).toMatchObject({ phase: 'Failed', reason: 'SpecForbidden' });
    expect(status?.message).toContain('domain.memory.value');
    expect(await active()).toEqual(before);
    expect(await diskContent(before.path, before.format)).toBe(now);

    const args = ['snapshot', 'revert', 'r1', '--restore-spec', '--kubeconfig', api.kubeconfigPath];
    const result = await commandLine(args);
    const stderr: unknown = expect.stringContaining('was put back with your rights');
    expect(result).toEqual({ exitCode: 0, stdout: 'vm/rights reverted: back to r1; it is off\n', stderr });
    const { domain } = (await node.get('rights')).spec;
    expect([domain?.memory, domain?.title]).toEqual([{ unit: 'MiB', value: 192 }, undefined]);
    const after = await active();
    expect(await diskContent(after.path, after.format)).toBe(then);
  });
});
