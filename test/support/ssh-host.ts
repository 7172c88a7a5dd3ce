/**
 * A host with a real sshd, for a user who knows nothing else of it: keys made for it, on a loopback port, in the namespaces of
 * a libvirtd and on an overlay of the file system, so that nothing of it is left. OpenSSH's server and sudo are Debian's,
 * unpacked and not installed, so that the machine itself gets no daemon.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { findFreePort } from './child-process.ts';
import { startLibvirtd, type LibvirtdNode } from './libvirtd.ts';
import { runProgram } from './run-program.ts';

const cache = resolve(import.meta.dirname, '../../node_modules/.cache/ssh-packages');

/** A running host. */
export interface SshHost {
  readonly libvirtd: LibvirtdNode;
  /** Of sshd, at 127.0.0.1. */
  readonly port: number;
  /** The private key that root, operator (who has sudo) and guest (who has not) let in. */
  readonly identity: string;
  /** The environment of a user whose ssh knows the host; with `knowsHost: false`, who has never seen it. */
  env(options?: { readonly knowsHost?: boolean }): Promise<Readonly<Record<string, string>>>;
  /** A file of the host, as its users see it. */
  path(path: string): string;
  /** Where its executor listens. */
  readonly metrics: string;
  close(): Promise<void>;
}

/** Starts a host. */
export async function startSshHost(): Promise<SshHost> {
  await fetchPackages();
  const libvirtd = await startLibvirtd({ hostNetwork: true });
  try {
    const { dir } = libvirtd;
    for (const name of ['host', 'client']) {
      await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(dir, name)]);
    }
    const [port, metricsPort] = [await findFreePort(), await findFreePort()];
    const metrics = `127.0.0.1:${metricsPort}`;
    const script = join(import.meta.dirname, 'ssh-host.sh');
    const inside = ['nsenter', '-t', String(libvirtd.pid), '-m', '-u', '-p', '-i', `--wd=${process.cwd()}`, '--'];
    const sshd = spawn(
      'nsenter',
      [
        ...inside.slice(1),
        'unshare',
        '--mount',
        '--propagation',
        'private',
        'bash',
        script,
        dir,
        String(port),
        metrics,
        cache,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let said = '';
    sshd.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4000)));
    const end = Date.now() + 120_000;
    while (!(await listens(port))) {
      if (sshd.exitCode !== null || Date.now() > end) throw new Error(`sshd does not listen: ${said}`);
      await delay(50);
    }
    // nsenter's one child became the shell, and then sshd: its root is what users of the host see.
    const children = await readFile(`/proc/${sshd.pid ?? 0}/task/${sshd.pid ?? 0}/children`, 'utf8');
    const pid = children.trim().split(' ')[0] ?? '';
    return {
      ...{ libvirtd, port, metrics, identity: join(dir, 'client') },
      path: (path) => join('/proc', pid, 'root', path),
      async env({ knowsHost = true } = {}) {
        const folder = join(dir, knowsHost ? 'user' : 'stranger');
        await mkdir(folder, { recursive: true });
        const key = (await readFile(join(dir, 'host.pub'), 'utf8')).trim();
        await writeFile(join(folder, 'known_hosts'), knowsHost ? `[127.0.0.1]:${port} ${key}\n` : '');
        // ssh takes the home from the system's users, not from the environment.
        const config = `UserKnownHostsFile ${join(folder, 'known_hosts')}\nGlobalKnownHostsFile /dev/null\nIdentitiesOnly yes\n`;
        await writeFile(join(folder, 'config'), config);
        await writeFile(join(folder, 'ssh'), `#!/bin/sh\nexec /usr/bin/ssh -F '${join(folder, 'config')}' "$@"\n`);
        await chmod(join(folder, 'ssh'), 0o755);
        return { PATH: `${folder}:/usr/bin:/bin` };
      },
      close: () => libvirtd.close(),
    };
  } catch (error) {
    await libvirtd.close();
    throw error;
  }
}

async function fetchPackages(): Promise<void> {
  if (existsSync(cache) && (await readdir(cache)).filter((name) => name.endsWith('.deb')).length >= 3) return;
  await mkdir(cache, { recursive: true });
  const words = ['-q', 'openssh-server', 'libwrap0', 'sudo'];
  await runProgram('sh', ['-c', 'cd "$1" && shift && apt-get download "$@"', 'sh', cache, ...words]);
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
