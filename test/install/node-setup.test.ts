import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { clearHost, setUpHost } from '../../src/commands/install/node-setup.ts';
import { runSsh, type SshOptions } from '../../src/commands/install/run-ssh.ts';
import { executorUnit } from '../../src/commands/install/executor-unit.ts';

/** A program named ssh that writes down how it was called, and what it was given. */
const fakeSsh = `#!${process.execPath}
const { appendFileSync } = require('node:fs');
const chunks = [];
process.stdin.on('data', (chunk) => chunks.push(chunk));
process.stdin.on('end', () => {
  const input = Buffer.concat(chunks).toString('utf8');
  appendFileSync(process.env.SSH_LOG, JSON.stringify({ args: process.argv.slice(2), input }) + '\\n');
  const words = process.argv.slice(2).join(' ');
  if (process.env.SSH_END !== undefined) { console.error('no route'); process.exit(Number(process.env.SSH_END)); }
  if (words.includes('fails')) { console.error('no such unit'); process.exit(5); }
  if (words.endsWith(' id -u')) console.log('a banner\\n' + (process.env.SSH_UID ?? '0'));
  if (words.includes('list-unit-files') && process.env.SSH_UNIT !== undefined) console.log(process.env.SSH_UNIT);
});
`;

interface Call {
  readonly args: readonly string[];
  readonly input: string;
}

describe('a host that is set up over ssh', () => {
  let folder: string;
  let ssh: SshOptions;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtctl-ssh-'));
    await writeFile(join(folder, 'ssh'), fakeSsh);
    await chmod(join(folder, 'ssh'), 0o755);
    const env = { PATH: folder, SSH_LOG: join(folder, 'log') };
    ssh = { destination: 'root@node-3', port: 2222, identity: '/key', env, signal: new AbortController().signal };
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  /** What was asked of ssh since the last time. */
  async function calls(): Promise<readonly Call[]> {
    const text = await readFile(join(folder, 'log'), 'utf8');
    await writeFile(join(folder, 'log'), '');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Call);
  }

  const options = ['-o', 'BatchMode=yes', '-o', 'ConnectTimeout=20', '-p', '2222', '-i', '/key', '--', 'root@node-3'];

  it('gets the binary, the kubeconfig, its name and the unit, and nothing goes through a shell string', async () => {
    const kubeconfig = 'token: $(reboot) "; rm -rf /"\n';
    const before: Call[] = [];
    await setUpHost(ssh, {
      binary: Buffer.from('ELF'),
      kubeconfig: async () => {
        before.push(...(await calls()));
        return kubeconfig;
      },
      nodeName: 'node-3',
      uri: 'qemu:///system',
    });
    expect(before.at(-1)?.args.join(' ')).toMatch(/fresh doctor --only node -o json --connect qemu:\/\/\/system$/);
    const made = [...before, ...(await calls())];
    expect(made.map(({ args }) => args.slice(0, options.length))).toEqual(made.map(() => options));
    const put = (path: string, mode: string, content: string): string[][] => [
      [`install -D -m ${mode} /dev/null ${path}.new`, ''],
      [`dd of=${path}.new status=none`, content],
      [`mv -f ${path}.new ${path}`, ''],
    ];
    expect(made.map(({ args, input }) => [args.slice(options.length).join(' '), input])).toEqual([
      ['id -u', ''],
      ['systemctl --version', ''],
      ...put('/usr/bin/virtctl.fresh', '0755', 'ELF'),
      ['/usr/bin/virtctl.fresh version', ''],
      ['/usr/bin/virtctl.fresh doctor --only node -o json --connect qemu:///system', ''],
      ['mv -f /usr/bin/virtctl.fresh /usr/bin/virtctl', ''],
      ...put('/etc/virtctl/kubeconfig', '0600', kubeconfig),
      ...put('/etc/default/virtctl-executor', '0644', 'NODE_NAME=node-3\nLIBVIRT_URI=qemu:///system\n'),
      ...put('/etc/systemd/system/virtctl-executor.service', '0644', executorUnit),
      ['systemctl daemon-reload', ''],
      ['systemctl enable virtctl-executor.service', ''],
      ['systemctl restart virtctl-executor.service', ''],
    ]);
  });

  it.each([
    ['cannot be reached', { SSH_END: '255' }, 6, 'ssh does not get to root@node-3: no route'],
    ['lets nobody be root', { SSH_END: '1' }, 1, 'root@node-3: id -u ended with 1: no route'],
  ])('that %s ends it before a token is asked for', async (_, end, exitCode, message) => {
    // Nobody listens there: whoever asks it for a token ends with that.
    const kubeconfig = join(folder, 'kubeconfig');
    const cluster = '{name: c, cluster: {server: "http://127.0.0.1:1"}}';
    const context = '{name: c, context: {cluster: c, user: ""}}';
    await writeFile(kubeconfig, `{current-context: c, clusters: [${cluster}], contexts: [${context}]}`);
    const env = { ...(ssh.env as Record<string, string>), ...end };
    const result = await commandLine(['install', 'node', 'root@node-3', '--kubeconfig', kubeconfig], { env });
    expect(result).toMatchObject({ exitCode, stdout: '', stderr: expect.stringContaining(message) as string });
    expect((await calls()).map(({ args }) => args.slice(-2).join(' '))).toEqual(['id -u']);
  });

  it.each(['0', '65536', '-1', '22x', '1e4'])('has no port %s', async (port) => {
    for (const verb of ['install', 'uninstall']) {
      const result = await commandLine([verb, 'node', 'root@node-3', `--port=${port}`]);
      expect(result).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('from 1 to 65535') as string });
    }
  });

  it('is cleared again, by a user with sudo', async () => {
    const env = { ...ssh.env, SSH_UID: '1000', SSH_UNIT: 'virtctl-executor.service enabled enabled' };
    expect(await clearHost({ ...ssh, env })).toBe(true);
    expect((await calls()).map(({ args }) => args.slice(options.length).join(' '))).toEqual([
      'id -u',
      'sudo -n -- true',
      'sudo -n -- systemctl list-unit-files --no-legend virtctl-executor.service',
      'sudo -n -- systemctl disable --now virtctl-executor.service',
      'sudo -n -- rm -f /etc/systemd/system/virtctl-executor.service /etc/default/virtctl-executor /etc/virtctl/kubeconfig',
      'sudo -n -- systemctl daemon-reload',
    ]);
  });

  it('is left as it is where there is no executor', async () => {
    expect(await clearHost(ssh)).toBe(false);
    expect((await calls()).map(({ args }) => args.slice(options.length)[0])).toEqual(['id', 'systemctl', 'rm']);
  });

  it("tells what failed in the host's words", async () => {
    await expect(runSsh(ssh, ['systemctl', 'fails'])).rejects.toThrow(
      'root@node-3: systemctl fails ended with 5: no such unit',
    );
    await calls();
  });

  it.each(['a b', '$(id)', 'x;y', '`id`', ''])('refuses the word "%s" on another host', async (word) => {
    await expect(runSsh(ssh, ['echo', word])).rejects.toThrow('cannot be a word');
  });

  it.each(['-oProxyCommand=id', 'root@', 'root@-x', 'a b', 'root@host;id'])('refuses the host "%s"', async (host) => {
    const { exitCode } = await commandLine(['uninstall', 'node', '--', host], {
      env: ssh.env as Record<string, string>,
    });
    expect(exitCode).toBe(2);
  });

  it('gets the unit that deploy/systemd has', async () => {
    const file = join(import.meta.dirname, '../../deploy/systemd/virtctl-executor.service');
    expect(executorUnit).toBe(await readFile(file, 'utf8'));
  });
});
