import type { CallOptions, Connection } from '../connection.ts';
import { isNotFound } from '../errors.ts';
import type { NonnullDomain, NonnullDomainCheckpoint } from '../protocol.gen.ts';
import {
  backupFlags,
  checkpointCreateFlags,
  checkpointListFlags,
  checkpointXmlFlags,
  deletePointFlags,
} from './domain-flags.ts';
import { flagBits, type Flags } from './flags.ts';
import { treeOf, type TreeNode } from './tree.ts';

/** A checkpoint: from when on changed blocks are known. */
export class Checkpoint {
  readonly #rpc: Connection;
  readonly ref: NonnullDomainCheckpoint;

  constructor(rpc: Connection, ref: NonnullDomainCheckpoint) {
    this.#rpc = rpc;
    this.ref = ref;
  }

  get name(): string {
    return this.ref.name;
  }

  /** virDomainCheckpointGetXMLDesc. `size` tells how many bytes changed since. */
  async xml(options: Flags<typeof checkpointXmlFlags> & CallOptions = {}): Promise<string> {
    const args = { checkpoint: this.ref, flags: flagBits(checkpointXmlFlags, options) };
    return (await this.#rpc.call('domainCheckpointGetXmlDesc', args, options)).xml;
  }

  /** virDomainCheckpointGetParent; undefined for the first. */
  async parent(options: CallOptions = {}): Promise<Checkpoint | undefined> {
    const args = { checkpoint: this.ref, flags: 0 };
    try {
      return new Checkpoint(this.#rpc, (await this.#rpc.call('domainCheckpointGetParent', args, options)).parent);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** virDomainCheckpointDelete. */
  async delete(options: Flags<typeof deletePointFlags> & CallOptions = {}): Promise<void> {
    const args = { checkpoint: this.ref, flags: flagBits(deletePointFlags, options) };
    await this.#rpc.call('domainCheckpointDelete', args, options);
  }
}

/** The checkpoints of a domain, and backups. */
export class DomainCheckpoints {
  readonly #rpc: Connection;
  readonly #dom: NonnullDomain;

  constructor(rpc: Connection, dom: NonnullDomain) {
    this.#rpc = rpc;
    this.#dom = dom;
  }

  /** virDomainCheckpointCreateXML. */
  async create(xml: string, options: Flags<typeof checkpointCreateFlags> & CallOptions = {}): Promise<Checkpoint> {
    const args = { dom: this.#dom, xmlDesc: xml, flags: flagBits(checkpointCreateFlags, options) };
    return new Checkpoint(this.#rpc, (await this.#rpc.call('domainCheckpointCreateXml', args, options)).checkpoint);
  }

  /** virDomainListAllCheckpoints. */
  async list(options: Flags<typeof checkpointListFlags> & CallOptions = {}): Promise<Checkpoint[]> {
    const args = { dom: this.#dom, needResults: 1, flags: flagBits(checkpointListFlags, options) };
    const { checkpoints } = await this.#rpc.call('domainListAllCheckpoints', args, options);
    return checkpoints.map((ref) => new Checkpoint(this.#rpc, ref));
  }

  async byName(name: string, options: CallOptions = {}): Promise<Checkpoint> {
    const args = { dom: this.#dom, name, flags: 0 };
    return new Checkpoint(this.#rpc, (await this.#rpc.call('domainCheckpointLookupByName', args, options)).checkpoint);
  }

  /** All of them as trees, roots first. */
  async tree(options: CallOptions = {}): Promise<TreeNode<Checkpoint>[]> {
    const checkpoints = await this.list({ ...options, topological: true });
    return treeOf(checkpoints, await Promise.all(checkpoints.map((checkpoint) => checkpoint.parent(options))));
  }

  /**
   * virDomainBackupBegin: copies the disks of a running domain as `backupXml` (`<domainbackup>`) says, and makes a
   * checkpoint at the same moment. It goes on as a job: `job-completed` ends it, `DomainJob.abort` gives it up.
   */
  async beginBackup(
    backupXml: string,
    options: Flags<typeof backupFlags> & { checkpointXml?: string } & CallOptions = {},
  ): Promise<void> {
    const { checkpointXml = null } = options;
    const args = { dom: this.#dom, backupXml, checkpointXml, flags: flagBits(backupFlags, options) };
    await this.#rpc.call('domainBackupBegin', args, options);
  }

  /** virDomainBackupGetXMLDesc of the backup that runs. */
  async backupXml(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('domainBackupGetXmlDesc', { dom: this.#dom, flags: 0 }, options)).xml;
  }
}
