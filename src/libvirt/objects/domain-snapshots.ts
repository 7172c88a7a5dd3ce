import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullDomain, NonnullDomainSnapshot } from '../protocol.gen.ts';
import { isNotFound } from '../errors.ts';
import { deletePointFlags, revertFlags, snapshotCreateFlags, snapshotListFlags } from './domain-flags.ts';
import { flagBits, type Flags } from './flags.ts';
import { treeOf, type TreeNode } from './tree.ts';

/** A snapshot of a domain. */
export class Snapshot {
  readonly #rpc: Connection;
  readonly ref: NonnullDomainSnapshot;

  constructor(rpc: Connection, ref: NonnullDomainSnapshot) {
    this.#rpc = rpc;
    this.ref = ref;
  }

  get name(): string {
    return this.ref.name;
  }

  /** virDomainSnapshotGetXMLDesc. */
  async xml(options: { secure?: boolean } & CallOptions = {}): Promise<string> {
    const args = { snap: this.ref, flags: options.secure === true ? 1 : 0 };
    return (await this.#rpc.call('domainSnapshotGetXmlDesc', args, options)).xml;
  }

  /** virDomainSnapshotGetParent; undefined for a root. */
  async parent(options: CallOptions = {}): Promise<Snapshot | undefined> {
    try {
      const { snap } = await this.#rpc.call('domainSnapshotGetParent', { snap: this.ref, flags: 0 }, options);
      return new Snapshot(this.#rpc, snap);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** virDomainSnapshotListAllChildren: those that follow it directly. */
  async children(options: CallOptions = {}): Promise<Snapshot[]> {
    const args = { snapshot: this.ref, needResults: 1, flags: 0 };
    const { snapshots } = await this.#rpc.call('domainSnapshotListAllChildren', args, options);
    return snapshots.map((ref) => new Snapshot(this.#rpc, ref));
  }

  async isCurrent(options: CallOptions = {}): Promise<boolean> {
    const { current } = await this.#rpc.call('domainSnapshotIsCurrent', { snap: this.ref, flags: 0 }, options);
    return current !== 0;
  }

  /** virDomainRevertToSnapshot. */
  async revert(options: Flags<typeof revertFlags> & CallOptions = {}): Promise<void> {
    const args = { snap: this.ref, flags: flagBits(revertFlags, options) };
    await this.#rpc.call('domainRevertToSnapshot', args, options);
  }

  /** virDomainSnapshotDelete. */
  async delete(options: Flags<typeof deletePointFlags> & CallOptions = {}): Promise<void> {
    const args = { snap: this.ref, flags: flagBits(deletePointFlags, options) };
    await this.#rpc.call('domainSnapshotDelete', args, options);
  }
}

/** The snapshots of a domain. */
export class DomainSnapshots {
  readonly #rpc: Connection;
  readonly #dom: NonnullDomain;

  constructor(rpc: Connection, dom: NonnullDomain) {
    this.#rpc = rpc;
    this.#dom = dom;
  }

  /** virDomainSnapshotCreateXML. */
  async create(xml: string, options: Flags<typeof snapshotCreateFlags> & CallOptions = {}): Promise<Snapshot> {
    const args = { dom: this.#dom, xmlDesc: xml, flags: flagBits(snapshotCreateFlags, options) };
    return new Snapshot(this.#rpc, (await this.#rpc.call('domainSnapshotCreateXml', args, options)).snap);
  }

  /** virDomainListAllSnapshots. */
  async list(options: Flags<typeof snapshotListFlags> & CallOptions = {}): Promise<Snapshot[]> {
    const args = { dom: this.#dom, needResults: 1, flags: flagBits(snapshotListFlags, options) };
    const { snapshots } = await this.#rpc.call('domainListAllSnapshots', args, options);
    return snapshots.map((ref) => new Snapshot(this.#rpc, ref));
  }

  async byName(name: string, options: CallOptions = {}): Promise<Snapshot> {
    const args = { dom: this.#dom, name, flags: 0 };
    return new Snapshot(this.#rpc, (await this.#rpc.call('domainSnapshotLookupByName', args, options)).snap);
  }

  /** virDomainSnapshotCurrent; undefined when none is current. */
  async current(options: CallOptions = {}): Promise<Snapshot | undefined> {
    const args = { dom: this.#dom, flags: 0 };
    if ((await this.#rpc.call('domainHasCurrentSnapshot', args, options)).result === 0) return undefined;
    return new Snapshot(this.#rpc, (await this.#rpc.call('domainSnapshotCurrent', args, options)).snap);
  }

  /** All of them as trees, roots first. */
  async tree(options: CallOptions = {}): Promise<TreeNode<Snapshot>[]> {
    const snapshots = await this.list({ ...options, topological: true });
    return treeOf(snapshots, await Promise.all(snapshots.map((snapshot) => snapshot.parent(options))));
  }
}
