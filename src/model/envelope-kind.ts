import type { DocumentKind } from './document-kind.ts';

/** Our kinds whose objects carry a libvirt document (design section 4). */
export type EnvelopeKind =
  'VirtualMachine' | 'VirtualNetwork' | 'VirtualPool' | 'VirtualDisk' | 'VirtualMachineSnapshot';

/** Which kind of ours carries a libvirt document, and in which field of its spec. The overlay is in `spec.overlay`. */
export interface EnvelopeRow {
  readonly kind: EnvelopeKind;
  readonly field: string;
  readonly document: DocumentKind;
}

/** libvirt's other documents have no kind of ours. */
export const envelopeRows: readonly EnvelopeRow[] = [
  { kind: 'VirtualMachine', field: 'domain', document: 'domain' },
  { kind: 'VirtualNetwork', field: 'network', document: 'network' },
  { kind: 'VirtualPool', field: 'pool', document: 'storagepool' },
  { kind: 'VirtualDisk', field: 'volume', document: 'storagevol' },
  { kind: 'VirtualMachineSnapshot', field: 'domainsnapshot', document: 'domainsnapshot' },
];
