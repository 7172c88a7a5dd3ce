import { runSsh, type SshCall, type SshOptions } from './run-ssh.ts';
import { FailedError } from '../../base/errors.ts';

/** Programs as root on a host. */
export interface RemoteRoot {
  /** {@link runSsh}, as root. */
  run(command: readonly string[], call?: SshCall): Promise<string>;
  /**
   * Writes a file as a whole: a reader has the old one or the new one, and nobody else sees what is in it meanwhile.
   *
   * @param mode As install(1) takes it.
   */
  put(path: string, mode: string, content: Uint8Array | string): Promise<void>;
}

/**
 * Finds out how to be root on a host: as who comes in, or by sudo.
 *
 * @throws FailedError where neither is.
 */
export async function remoteRoot(ssh: SshOptions): Promise<RemoteRoot> {
  // What a login says before (a banner of the shell's) stands before it.
  const uid = (await runSsh(ssh, ['id', '-u'])).trim().split('\n').at(-1);
  const prefix = uid === '0' ? [] : ['sudo', '-n', '--'];
  if (prefix.length > 0) {
    try {
      await runSsh(ssh, [...prefix, 'true']);
    } catch (cause) {
      throw new FailedError(`${ssh.destination} is not root, and may not become it`, {
        cause,
        hint: 'come as root, or let that user run sudo without a password',
      });
    }
  }
  const run = (command: readonly string[], call?: SshCall): Promise<string> =>
    runSsh(ssh, [...prefix, ...command], call);
  return {
    run,
    async put(path, mode, content) {
      // sshd may give a socket as standard input, which cannot be opened by the name of /dev/stdin.
      const part = `${path}.new`;
      await run(['install', '-D', '-m', mode, '/dev/null', part]);
      await run(['dd', `of=${part}`, 'status=none'], { input: content });
      await run(['mv', '-f', part, path]);
    },
  };
}
