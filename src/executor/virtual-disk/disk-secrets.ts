/**
 * The keys of encrypted disks on one node: a Kubernetes Secret that becomes a secret of libvirt, which the volume's and the
 * domain's `<encryption>` name. It is private and ephemeral: libvirtd has it in its memory, writes it nowhere, and gives it to
 * nobody but QEMU; after a restart of libvirtd it is put there again before it is needed. It goes with the disk, and leaves a
 * node on which nothing has the disk any more.
 */
import type { SecretObject } from '../virtual-machine/volumes.ts';
import { domainsWith } from './disk-users.ts';
import { uuidFrom } from '../virtual-pool/pool-secret.ts';
import { StorageProblem } from '../virtual-pool/storage-context.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import { UnreachableError } from '../../base/errors.ts';
import { render } from '../../convertor/render.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';

/** `<encryption>` as volumes and domains have it. */
export interface Encryption {
  readonly [key: string]: 'luks' | readonly { readonly type: 'passphrase'; readonly uuid: string }[];
  readonly format: 'luks';
  readonly secret: readonly { readonly type: 'passphrase'; readonly uuid: string }[];
}

/** Where keys are found, and where they go. */
export interface DiskSecretsOptions {
  readonly secrets: ResourceClient<SecretObject>;
  readonly libvirt: () => Libvirt | undefined;
}

/** The `<encryption>` of a disk: undefined when it has none. */
export function encryptionOf({ metadata, spec }: VirtualDisk): Encryption | undefined {
  // Who writes libvirt's own has the secret at libvirt already.
  const given = spec.volume?.target?.encryption?.secret?.[0]?.uuid;
  const uuid = spec.encryption === undefined ? given : uuidFrom(`virtctl.dev/disk-secret/${metadata.uid ?? ''}`);
  return uuid === undefined ? undefined : { format: 'luks', secret: [{ type: 'passphrase', uuid }] };
}

/** See the head of this file. */
export class DiskSecrets {
  readonly #options: DiskSecretsOptions;

  constructor(options: DiskSecretsOptions) {
    this.#options = options;
  }

  /**
   * Sees to it that libvirt has the key of a disk; does nothing for one without `spec.encryption`.
   *
   * @throws StorageProblem `SecretNotFound` or `SecretNotReady`.
   */
  async ensure(disk: VirtualDisk, signal: AbortSignal): Promise<void> {
    const uuid = encryptionOf(disk)?.secret[0]?.uuid;
    if (disk.spec.encryption === undefined || uuid === undefined) return;
    const value = await this.passphrase(disk, signal);
    const { namespace = '', name = '' } = disk.metadata;
    const secret = await this.#connection().secrets.defineXml(
      render('secret', {
        ephemeral: true,
        private: true,
        uuid,
        description: `of VirtualDisk ${namespace}/${name}`,
        usage: { type: 'volume', volume: usageOf(namespace, name) },
      }),
      { signal },
    );
    await secret.setValue(value, { signal });
  }

  /**
   * The key of a disk with `spec.encryption`.
   *
   * @throws StorageProblem `SecretNotFound` or `SecretNotReady`; neither says anything of a key.
   */
  async passphrase(disk: VirtualDisk, signal: AbortSignal): Promise<Buffer> {
    const { name = '', key = 'passphrase' } = disk.spec.encryption?.secretRef ?? {};
    const { namespace } = disk.metadata;
    const found = await this.#options.secrets.find({ namespace, name }, { signal });
    const told = `spec.encryption.secretRef: Secret "${name}"`;
    if (found === undefined)
      throw new StorageProblem('SecretNotFound', `spec.encryption.secretRef: there is no Secret "${name}"`);
    const data = found.data?.[key];
    if (data === undefined) throw new StorageProblem('SecretNotReady', `${told} has no key "${key}"`);
    const value = Buffer.from(data, 'base64');
    if (value.length === 0) throw new StorageProblem('SecretNotReady', `the key "${key}" of ${told} is empty`);
    // QEMU takes passphrases that are text only (docs/system/secrets).
    if (!Buffer.from(value.toString('utf8'), 'utf8').equals(value)) {
      throw new StorageProblem('SecretNotReady', `the key "${key}" of ${told} is no text in UTF-8`);
    }
    return value;
  }

  /** Takes the key of a disk from libvirt, if it has one. */
  async remove(namespace: string, name: string, signal: AbortSignal): Promise<void> {
    try {
      const secret = await this.#connection().secrets.byUsage('volume', usageOf(namespace, name), { signal });
      await secret.undefine({ signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** The same, unless a domain of the node has the disk. */
  async leave(disk: VirtualDisk, signal: AbortSignal): Promise<void> {
    const { namespace = '', name = '' } = disk.metadata;
    const { path } = disk.status ?? {};
    if (path !== undefined && (await domainsWith(this.#connection(), path, false, signal)).length > 0) return;
    await this.remove(namespace, name, signal);
  }

  #connection(): Libvirt {
    const libvirt = this.#options.libvirt();
    if (libvirt === undefined) throw new UnreachableError('libvirt is not connected');
    return libvirt;
  }
}

function usageOf(namespace: string, name: string): string {
  // libvirt's schema has a path here.
  return `/virtctl.dev/virtualdisk/${namespace}/${name}`;
}
