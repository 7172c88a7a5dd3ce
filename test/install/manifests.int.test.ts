import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine, type CommandResult } from '../support/command-line.ts';
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts';
import { parseConnection } from '../support/kube-connection.ts';
import { debianKubectl, installedKubectl } from '../support/kubectl-program.ts';
import { runProgram } from '../support/run-program.ts';
import { makeTestFolder } from '../support/test-folder.ts';
import { resourceOfManifest } from '../../src/commands/install/installation.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/object.ts';

describe('the manifests of virtctl install', () => {
  let api: KubeApiserver;
  let client: KubeClient;
  let folder: string;

  beforeAll(async () => {
    api = await startKubeApiserver();
    client = new KubeClient(await parseConnection(api.kubeconfigPath));
    folder = makeTestFolder('manifests');
  });
  afterAll(async () => {
    (client as KubeClient | undefined)?.close();
    await api.stop();
  });

  const install = (...words: readonly string[]): Promise<CommandResult> =>
    commandLine(['install', ...words, '--kubeconfig', api.kubeconfigPath]);

  const changes = ({ stdout }: CommandResult): readonly string[] =>
    stdout.split('\n').filter((line) => line !== '' && !line.includes(' unchanged'));

  it('are the same to kubectl as to install', async () => {
    const { stdout } = await commandLine(['install', '--dry-run', '-o', 'yaml']);
    const file = join(folder, 'virtctl.yaml');
    await writeFile(file, stdout);
    const kubectl = installedKubectl() ?? (await debianKubectl());
    const words = ['--kubeconfig', api.kubeconfigPath, '--cache-dir', join(folder, 'kubectl')];
    await runProgram(kubectl, [...words, 'apply', '--server-side', '-f', file]);
    const installed = await install();
    expect(installed).toMatchObject({ exitCode: 0, stderr: '' });
    expect(changes(installed)).toEqual([]);
  });

  const own = { 'app.kubernetes.io/part-of': 'virtctl', 'app.kubernetes.io/managed-by': 'virtctl' };

  function objects(kind: string, apiVersion: string) {
    return client.resource<KubeObject>(resourceOfManifest({ apiVersion, kind }));
  }

  async function make(
    kind: string,
    apiVersion: string,
    metadata: KubeObject['metadata'],
    rest: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    await objects(kind, apiVersion).create({ apiVersion, kind, metadata, ...rest });
  }

  it('replace what an older version had, and nothing of anybody else', async () => {
    const rbac = 'rbac.authorization.k8s.io/v1';
    await make('ClusterRole', rbac, { name: 'virtctl-older', labels: own }, { rules: [] });
    await make('ServiceAccount', 'v1', { namespace: 'virtctl-system', name: 'virtctl-older', labels: own });
    // Of somebody else: another namespace, or only one of the labels.
    await make('ServiceAccount', 'v1', { namespace: 'default', name: 'mine', labels: own });
    const half = { 'app.kubernetes.io/part-of': 'virtctl' };
    await make('ClusterRole', rbac, { name: 'mine', labels: half }, { rules: [] });
    const crd = 'apiextensions.k8s.io/v1';
    const group = 'older.virtctl.dev';
    const names = { plural: 'olds', singular: 'old', kind: 'Old', listKind: 'OldList' };
    const schema = { openAPIV3Schema: { type: 'object' } };
    const versions = [{ name: 'v1', served: true, storage: true, schema }];
    const spec = { group, scope: 'Cluster', names, versions };
    await make('CustomResourceDefinition', crd, { name: `olds.${group}`, labels: own }, { spec });

    const pruned = [
      'clusterrole.rbac.authorization.k8s.io/virtctl-older pruned',
      'serviceaccount/virtctl-older pruned',
    ];
    const dry = await install('--dry-run=server');
    expect(changes(dry)).toEqual(pruned.map((line) => `${line} (server dry run)`));
    expect(changes(await install())).toEqual(pruned);
    expect(changes(await install())).toEqual([]);
    expect(await objects('ServiceAccount', 'v1').find({ namespace: 'default', name: 'mine' })).toBeDefined();
    expect(await objects('ClusterRole', rbac).find({ name: 'mine' })).toBeDefined();
    expect(await objects('CustomResourceDefinition', crd).find({ name: `olds.${group}` })).toBeDefined();
  });

  it('take the DaemonSet away when no node is to have an executor any more, and tell of it beside the output', async () => {
    const result = await install('--nodes', 'none', '-o', 'name');
    expect(result).toMatchObject({ exitCode: 0, stderr: 'daemonset.apps/virtctl-executor pruned\n' });
    expect(result.stdout).not.toContain('daemonset');
    expect(changes(await install())).toEqual(['daemonset.apps/virtctl-executor created']);
  });
});
