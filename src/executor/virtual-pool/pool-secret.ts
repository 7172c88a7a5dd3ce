/**
 * The password of a pool's source: a Kubernetes Secret that becomes a secret of libvirt on the node, which the pool's
 * `<auth>` names. It has a UUID that follows from the pool's, so that whoever makes it anew makes the same; it goes with
 * the pool. libvirt keeps it private: nobody reads it back from there.
 */
import { createHash } from 'node:crypto';
import { libvirtOf, StorageProblem, type StorageContext } from './storage-context.ts';
import { isObject, memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';
import { render } from '../../convertor/render.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Secret } from '../../libvirt/objects/secrets.ts';

/** What libvirt calls the way to authenticate, by the type of pool (https://libvirt.org/formatstorage.html). */
const authTypes: Readonly<Record<string, { readonly auth: 'ceph' | 'chap'; readonly usage: 'ceph' | 'iscsi' }>> = {
  rbd: { auth: 'ceph', usage: 'ceph' },
  iscsi: { auth: 'chap', usage: 'iscsi' },
  'iscsi-direct': { auth: 'chap', usage: 'iscsi' },
};

/** `<auth>` of a pool's source, as a libvirt document has it. */
export interface PoolAuth extends DataObject {
  readonly type: 'ceph' | 'chap';
  readonly username: string;
  readonly secret: { readonly uuid: string };
}

/** The UUID of the secret of a pool, from the pool's. */
export function poolSecretUuid(poolUid: string): string {
  return uuidFrom(`virtctl.dev/pool-secret/${poolUid}`);
}

/** A UUID that follows from a text: RFC 9562's version 8, made of a SHA-256. */
export function uuidFrom(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/**
 * The secret's value as libvirt wants it. A key of Ceph is base64 in every file and Secret, and libvirt writes it as
 * base64 itself.
 *
 * @param data Of the Kubernetes Secret: base64.
 * @throws StorageProblem when it cannot be that.
 */
export function secretValue(data: string, usage: 'ceph' | 'iscsi', where: string): Buffer {
  const value = Buffer.from(data, 'base64');
  if (value.length === 0) throw new StorageProblem('SecretNotReady', `${where} is empty`);
  if (usage !== 'ceph') return value;
  const text = value.toString('latin1').trim();
  const key = Buffer.from(text, 'base64');
  if (key.length === 0 || key.toString('base64') !== text) {
    throw new StorageProblem('SecretNotReady', `${where} is no key of Ceph, which is base64 as in its keyring`);
  }
  return key;
}

/**
 * Sees to it that libvirt has the secret that a pool's spec names, and none when it names none any more.
 *
 * @returns What the pool's source gets as `<auth>`; undefined when spec names no Secret.
 * @throws StorageProblem `SecretNotFound` or `SecretNotReady`, and when the type of pool knows no password.
 */
export async function ensurePoolSecret(
  context: StorageContext,
  pool: VirtualPool,
  signal: AbortSignal,
): Promise<PoolAuth | undefined> {
  const reference = pool.spec.authSecretRef;
  if (reference === undefined) return undefined;
  const type = pool.spec.pool?.type ?? '';
  const words = authTypes[type];
  if (words === undefined) {
    const message = `spec.authSecretRef: pools of type ${type} take no password`;
    throw new StorageProblem('DefineFailed', message, { isFinal: true });
  }
  const { namespace, name, key = 'password' } = reference;
  const found = await context.secrets.find({ namespace, name }, { signal });
  if (found === undefined) {
    throw new StorageProblem('SecretNotFound', `spec.authSecretRef: there is no Secret ${namespace}/${name}`);
  }
  const data = found.data?.[key];
  if (data === undefined) {
    throw new StorageProblem('SecretNotReady', `spec.authSecretRef: Secret ${namespace}/${name} has no key "${key}"`);
  }
  const given = textOf(memberAt(pool.spec.pool as DataObject | undefined, 'source', 'auth', 'username'));
  const username = given === '' ? Buffer.from(found.data?.['username'] ?? '', 'base64').toString('utf8') : given;
  if (username === '') {
    const message = `spec.pool.source.auth.username is missing, and Secret ${namespace}/${name} has no key "username"`;
    throw new StorageProblem('SecretNotReady', message);
  }
  const value = secretValue(data, words.usage, `spec.authSecretRef: key "${key}" of Secret ${namespace}/${name}`);
  const uuid = poolSecretUuid(pool.metadata.uid ?? '');
  const usageName = `virtctl pool ${pool.metadata.name ?? ''}`;
  const secret = await libvirtOf(context).secrets.defineXml(
    render('secret', {
      // Kept by libvirt, which starts the pool with the node, before us.
      ephemeral: false,
      private: true,
      uuid,
      description: `of VirtualPool ${pool.metadata.name ?? ''}`,
      usage: words.usage === 'ceph' ? { type: 'ceph', name: usageName } : { type: 'iscsi', target: usageName },
    }),
    { signal },
  );
  await secret.setValue(value, { signal });
  return { type: words.auth, username, secret: { uuid } };
}

/** Removes the secret of a pool, when there is one. */
export async function removePoolSecret(context: StorageContext, pool: VirtualPool, signal: AbortSignal): Promise<void> {
  if (authTypes[pool.spec.pool?.type ?? ''] === undefined) return;
  let secret: Secret;
  try {
    secret = await libvirtOf(context).secrets.byUuid(poolSecretUuid(pool.metadata.uid ?? ''), { signal });
    await secret.undefine({ signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** A pool with its `<auth>`: what is rendered and compared. */
export function withAuth(pool: VirtualPool, auth: PoolAuth | undefined): VirtualPool {
  if (auth === undefined) return pool;
  const value = (pool.spec.pool ?? {}) as DataObject;
  const source = isObject(value['source']) ? value['source'] : {};
  return { ...pool, spec: { ...pool.spec, pool: { ...value, source: { ...source, auth } } } };
}
