import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullSecret } from '../protocol.gen.ts';
import { flagBits, type Flags } from './flags.ts';
import { uuidToBytes, uuidToString } from './uuid.ts';
import { indexOf, wordAt } from './values.ts';

/** virConnectListAllSecretsFlags. */
export const listSecretsFlags = { ephemeral: 1, noEphemeral: 2, private: 4, noPrivate: 8 } as const;

/** virSecretUsageType, by number. */
const usageTypes = ['none', 'volume', 'ceph', 'iscsi', 'tls', 'vtpm'] as const;

/** What a secret is for. */
export type SecretUsage = (typeof usageTypes)[number];

/** A libvirt secret. */
export class Secret {
  readonly #rpc: Connection;
  readonly ref: NonnullSecret;

  constructor(rpc: Connection, ref: NonnullSecret) {
    this.#rpc = rpc;
    this.ref = ref;
  }

  get uuid(): string {
    return uuidToString(this.ref.uuid);
  }

  get usageType(): SecretUsage | 'unknown' {
    return wordAt(usageTypes, this.ref.usageType);
  }

  get usageId(): string {
    return this.ref.usageID;
  }

  async xml(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('secretGetXmlDesc', { secret: this.ref, flags: 0 }, options)).xml;
  }

  /** virSecretSetValue. */
  async setValue(value: Uint8Array, options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('secretSetValue', { secret: this.ref, value, flags: 0 }, options);
  }

  /** virSecretGetValue; refused for a private secret. */
  async value(options: CallOptions = {}): Promise<Uint8Array> {
    return (await this.#rpc.call('secretGetValue', { secret: this.ref, flags: 0 }, options)).value;
  }

  async undefine(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('secretUndefine', { secret: this.ref }, options);
  }
}

/** The secrets of a host. */
export class Secrets {
  readonly #rpc: Connection;

  constructor(rpc: Connection) {
    this.#rpc = rpc;
  }

  /** virConnectListAllSecrets. */
  async list(options: Flags<typeof listSecretsFlags> & CallOptions = {}): Promise<Secret[]> {
    const args = { needResults: 1, flags: flagBits(listSecretsFlags, options) };
    const { secrets } = await this.#rpc.call('connectListAllSecrets', args, options);
    return secrets.map((ref) => new Secret(this.#rpc, ref));
  }

  async byUuid(uuid: string, options: CallOptions = {}): Promise<Secret> {
    const args = { uuid: uuidToBytes(uuid) };
    return new Secret(this.#rpc, (await this.#rpc.call('secretLookupByUuid', args, options)).secret);
  }

  async byUsage(type: SecretUsage, id: string, options: CallOptions = {}): Promise<Secret> {
    const args = { usageType: indexOf(usageTypes, type), usageID: id };
    return new Secret(this.#rpc, (await this.#rpc.call('secretLookupByUsage', args, options)).secret);
  }

  /** virSecretDefineXML. */
  async defineXml(xml: string, options: { validate?: boolean } & CallOptions = {}): Promise<Secret> {
    const args = { xml, flags: options.validate === true ? 1 : 0 };
    return new Secret(this.#rpc, (await this.#rpc.call('secretDefineXml', args, options)).secret);
  }
}
