import { existsSync, statSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildVirtctl, type VirtctlProcess } from '../end-to-end/virtctl-process.ts';
import { commandLine, type CommandResult } from '../support/command-line.ts';
import { resourceOf } from '../support/executor-node.ts';
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts';
import { parseConnection } from '../support/kube-connection.ts';
import { runProgram } from '../support/run-program.ts';
import { startSshHost, type SshHost } from '../support/ssh-host.ts';
import { hostPaths } from '../../src/commands/install/node-setup.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { runController } from '../../src/controller/controller.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';

describe('virtctl install node over a real sshd', () => {
  let host: SshHost;
  let api: KubeApiserver;
  let client: KubeClient;
  let built: VirtctlProcess;
  let binary: string;
  const controller = new AbortController();
  let controllerEnded: Promise<void> | undefined;

  beforeAll(async () => {
    built = buildVirtctl();
    [host, api] = await Promise.all([startSshHost(), startKubeApiserver()]);
    client = new KubeClient(await parseConnection(api.kubeconfigPath));
    expect(await commandLine(['install', '--kubeconfig', api.kubeconfigPath])).toMatchObject({ exitCode: 0 });
    binary = await program('virtctl-1', `exec '${process.execPath}' '${built.path}' "$@"`);
    // The guest that is there before anybody installs anything.
    const file = join(host.libvirtd.dir, 'db.xml');
    const os = "<os><type arch='x86_64' machine='q35'>hvm</type></os>";
    await writeFile(file, `<domain type='qemu'><name>db</name><memory unit='MiB'>32</memory>${os}</domain>`);
    await host.libvirtd.virsh('define', file);
    await host.libvirtd.virsh('start', 'db');
  });
  afterAll(async () => {
    controller.abort(new Error('the test is over'));
    await controllerEnded;
    (client as KubeClient | undefined)?.close();
    await host.close();
    await api.stop();
    built.remove();
  });

  /** An executable, as is given to `--binary`. */
  async function program(name: string, script: string): Promise<string> {
    const path = join(host.libvirtd.dir, name);
    await writeFile(path, `#!/bin/sh\n# ${name}\n${script}\n`);
    return path;
  }

  interface Attempt {
    readonly user?: string;
    readonly knowsHost?: boolean;
    readonly identity?: string;
    readonly binary?: string;
    readonly words?: readonly string[];
  }

  async function install(attempt: Attempt = {}): Promise<CommandResult> {
    const { user = 'root', words = [], identity = host.identity } = attempt;
    return commandLine(
      [
        ...['install', 'node', `${user}@127.0.0.1`, '--port', String(host.port), '--identity', identity],
        ...[
          '--node-name',
          'node-1',
          '--binary',
          attempt.binary ?? binary,
          '--kubeconfig',
          api.kubeconfigPath,
          ...words,
        ],
      ],
      { env: await host.env({ knowsHost: attempt.knowsHost ?? true }) },
    );
  }

  const uninstall = async (): Promise<CommandResult> =>
    commandLine(['uninstall', 'node', 'root@127.0.0.1', '--port', String(host.port), '--identity', host.identity], {
      env: await host.env(),
    });

  const qemu = async (): Promise<string> => readFile(join(host.libvirtd.dir, 'run/qemu/db.pid'), 'utf8');

  function expectUntouched(): void {
    const paths = Object.values(hostPaths).flatMap((path) => [path, `${path}.new`, `${path}.fresh`]);
    expect(paths.filter((path) => existsSync(host.path(path)))).toEqual([]);
  }

  it('says that the host is not known, and how to get to know it', async () => {
    expect(await install({ knowsHost: false })).toMatchObject({
      exitCode: 6,
      stderr: expect.stringMatching(
        /ssh does not get to root@127\.0\.0\.1: Host key verification failed.*once/s,
      ) as string,
    });
    expectUntouched();
  });

  it('says that the key is refused', async () => {
    const stranger = join(host.libvirtd.dir, 'stranger-key');
    await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', stranger]);
    expect(await install({ identity: stranger })).toMatchObject({
      exitCode: 6,
      stderr: expect.stringContaining('Permission denied (publickey)') as string,
    });
    expectUntouched();
  });

  it('says that a user is not root and may not become it', async () => {
    expect(await install({ user: 'guest' })).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('guest@127.0.0.1 is not root, and may not become it') as string,
    });
    expectUntouched();
  });

  it('refuses a host without libvirt, and leaves nothing there', async () => {
    await host.libvirtd.signal('TERM');
    try {
      expect(await install()).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining('root@127.0.0.1 has no libvirt at qemu:///system') as string,
      });
    } finally {
      await host.libvirtd.start();
    }
    expectUntouched();
  });

  it.each(['node 1', 'Node;reboot', '$(id)', '-o', 'a..b', 'x'.repeat(254)])(
    'refuses the node name "%s"',
    async (name) => {
      expect(await install({ words: [`--node-name=${name}`] })).toMatchObject({ exitCode: 2 });
      expectUntouched();
    },
  );

  it('installs as root, and the node is ready', async () => {
    const { exitCode, stdout, stderr } = await install();
    expect({ exitCode, stdout, stderr }).toMatchObject({
      exitCode: 0,
      stdout: 'hypervisor.virtctl.dev/node-1 installed\n',
    });
    expect(statSync(host.path(hostPaths.kubeconfig)).mode & 0o777).toBe(0o600);
    expect(statSync(host.path(hostPaths.binary)).mode & 0o777).toBe(0o755);
    const nodes = await client.resource(resourceOf('Hypervisor')).listAll();
    expect(nodes.items.map(({ metadata }) => metadata.name)).toEqual(['node-1']);
  });

  it('runs what is there under the rights of its own', async () => {
    controllerEnded = runController({ client, identity: 'test', logger: silentLogger }, controller.signal);
    const words = [
      'adopt',
      'node-1',
      'db',
      '--kubeconfig',
      api.kubeconfigPath,
      '--connect',
      host.libvirtd.uri,
      '--no-wait',
    ];
    expect(await commandLine(words)).toMatchObject({ exitCode: 0 });
    await expect.poll(async () => (await machine())?.status?.printableStatus, { timeout: 60_000 }).toBe('Running');
  });

  const machine = (): Promise<VirtualMachine | undefined> =>
    client.resource<VirtualMachine>(resourceOf('VirtualMachine')).find({ namespace: 'default', name: 'db' });

  it('installs anew as a user with sudo, and a newer version over the old, while the guest runs on', async () => {
    const pid = await qemu();
    expect(await install({ user: 'operator' })).toMatchObject({ exitCode: 0 });
    const newer = await program('virtctl-2', `exec '${process.execPath}' '${built.path}' "$@"`);
    expect(await install({ user: 'operator', binary: newer })).toMatchObject({ exitCode: 0 });
    expect(await readFile(host.path(hostPaths.binary), 'utf8')).toBe(await readFile(newer, 'utf8'));
    expect(await qemu()).toBe(pid);
  });

  it('keeps the version that runs when the new one does not', async () => {
    const before = await readFile(host.path(hostPaths.binary), 'utf8');
    const broken = await program('virtctl-3', 'echo "wrong architecture" >&2; exit 126');
    expect(await install({ binary: broken })).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('wrong architecture') as string,
    });
    expect(await readFile(host.path(hostPaths.binary), 'utf8')).toBe(before);
    expect(existsSync(host.path(`${hostPaths.binary}.fresh`))).toBe(false);
    expect((await fetch(`http://${host.metrics}/healthz`)).ok).toBe(true);
  });

  it('uninstalls while the guest runs on, and has nothing to do the second time', async () => {
    const pid = await qemu();
    expect(await uninstall()).toMatchObject({
      exitCode: 0,
      stdout: 'hypervisor.virtctl.dev/127.0.0.1 uninstalled\n',
    });
    await expect(fetch(`http://${host.metrics}/healthz`)).rejects.toThrow();
    const { binary: _kept, ...others } = hostPaths;
    expect(Object.values(others).filter((path) => existsSync(host.path(path)))).toEqual([]);
    expect(await uninstall()).toMatchObject({ exitCode: 0, stdout: '', stderr: 'root@127.0.0.1 has no executor\n' });
    expect(await qemu()).toBe(pid);
    expect(await machine()).toBeDefined();
  });
});
