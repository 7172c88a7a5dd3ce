import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { apiVersion } from '../api/meta.ts';
import { FailedError, toError, UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addVerbOptions, runMachineVerb } from '../cli/machine-verb.ts';
import type { VerbFlags } from '../cli/machine-verb.ts';
import { OwnSecret } from '../cli/own-secret.ts';
import type { KubeObject } from '../kube/object.ts';
import { builtin } from '../kube/resource-type.ts';
import { isRefusal } from '../kube/status-error.ts';

interface SetPasswordFlags extends VerbFlags {
  readonly user: string;
  readonly passwordFile?: string;
  readonly secret?: string;
  readonly key?: string;
  readonly encrypted?: boolean;
}

interface Secret extends KubeObject {
  readonly type: 'Opaque';
  readonly immutable: boolean;
  readonly stringData: Readonly<Record<string, string>>;
}

/** No password is longer than this many bytes. */
const maxPasswordBytes = 4096;

/** An operation that nobody waits for is kept this long, and its Secret with it. */
const secretTtlSeconds = 60;

/** `virtctl set-password`: through the guest agent. The password travels in a Secret, never on the command line. */
export function configure(command: Command, context: Context): void {
  addVerbOptions(command);
  command
    .requiredOption('--user <name>', 'the user in the guest')
    .option('--password-file <file>', 'read the password from here; - for standard input')
    .option('--secret <name>', 'a Secret of the namespace that holds it already')
    .option('--key <key>', 'the key in that Secret; password when left out')
    .option('--encrypted', 'it is hashed already, as in /etc/shadow');
  addExamples(command, [
    ['From standard input', 'pass show web/root | virtctl set-password web --user root --password-file -'],
    ['From a Secret', 'virtctl set-password web --user root --secret web-root'],
  ]);
  command.action(async (names: string[], flags: SetPasswordFlags) => {
    if ((flags.secret === undefined) === (flags.passwordFile === undefined)) {
      throw new UsageError('give either --secret or --password-file');
    }
    const password = flags.passwordFile === undefined ? undefined : await readPassword(context, flags.passwordFile);
    await runMachineVerb(context, names, flags, 'password set', async (machine, client) => {
      const { name = '', namespace, uid = '' } = machine.metadata;
      let secret = flags.secret;
      if (password !== undefined) {
        secret = `${name.slice(0, 200)}-password-${randomBytes(4).toString('hex')}`;
        const object: Secret = {
          apiVersion: 'v1',
          kind: 'Secret',
          // Until it is given to the operation, should this process end in between.
          metadata: { name: secret, namespace, ownerReferences: [{ apiVersion, kind: 'VirtualMachine', name, uid }] },
          type: 'Opaque',
          immutable: true,
          stringData: { [flags.key ?? 'password']: password },
        };
        try {
          await client.resource<Secret>(builtin.secrets).create(object, { signal: context.signal });
        } catch (error) {
          // What the server has not refused may be there.
          if (isRefusal(error)) throw error;
          await new OwnSecret(client, namespace, secret).remove().catch((cause: unknown) => {
            context.stderr.write(`note: secret/${secret} may have been made: ${toError(cause).message}\n`);
          });
          throw error;
        }
      }
      const secretRef = { name: secret ?? '', ...(flags.key === undefined ? {} : { key: flags.key }) };
      const encrypted = flags.encrypted === true ? { encrypted: true } : {};
      return {
        verb: 'SetUserPassword',
        parameters: {
          setUserPassword: { user: flags.user, secretRef, ...encrypted },
          ...(password === undefined ? {} : { ttlSecondsAfterFinished: secretTtlSeconds }),
        },
        ownSecret: password === undefined ? undefined : secret,
      };
    });
  });
}

async function readPassword(context: Context, file: string): Promise<string> {
  const text = file === '-' ? await readAll(context.stdin) : await readFile(resolve(context.cwd, file), 'utf8');
  const password = text.replace(/\r?\n$/, '');
  if (password === '') throw new FailedError(`${file === '-' ? 'standard input' : file} holds no password`);
  if (Buffer.byteLength(password) > maxPasswordBytes) {
    throw new FailedError(`the password is longer than ${maxPasswordBytes} bytes`);
  }
  return password;
}

async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const part = Buffer.from(chunk as Uint8Array);
    bytes += part.length;
    // Two bytes more than a password may have: its line break.
    if (bytes > maxPasswordBytes + 2) break;
    chunks.push(part);
  }
  return Buffer.concat(chunks).toString('utf8');
}
