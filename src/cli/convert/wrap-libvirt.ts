import type { LibvirtDocument } from './libvirt-document.ts';
import { envelopes } from './libvirt-kinds.ts';
import { apiVersion } from '../../api/meta.ts';
import { FailedError } from '../../base/errors.ts';

/** A libvirt document inside the object of ours that carries it. */
export function wrapLibvirt({ kind, value, overlay }: LibvirtDocument): Readonly<Record<string, unknown>> {
  const envelope = envelopes.find(({ document }) => document === kind);
  if (envelope === undefined) throw new FailedError(`no kind of virtctl carries libvirt's ${kind}`);
  const { name } = value;
  return {
    apiVersion,
    kind: envelope.kind,
    metadata: { name: kubernetesName(typeof name === 'string' ? name : '') },
    spec: {
      ...(kind === 'domainsnapshot' ? machineOf(value) : {}),
      [envelope.field]: value,
      ...(overlay.length === 0 ? {} : { overlay }),
    },
  };
}

/** The machine that a snapshot is of, where the snapshot says it. */
function machineOf({ domain }: LibvirtDocument['value']): { virtualMachine?: string } {
  const name = typeof domain === 'object' && domain !== null && 'name' in domain ? domain.name : undefined;
  return typeof name === 'string' ? { virtualMachine: kubernetesName(name) } : {};
}

/** A name that Kubernetes takes, as near to libvirt's as it can be. The original stays in the document. */
function kubernetesName(name: string): string {
  const plain = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, '');
  return plain === '' ? 'unnamed' : plain;
}
