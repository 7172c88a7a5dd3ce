import { imageVolumeName } from './image-upload.ts';
import { findCondition } from './meta.ts';
import type { Problems } from './problem.ts';
import { formatBytesRounded, parseQuantity } from './quantity.ts';
import {
  checkExactlyOne,
  checkHostPath,
  checkImmutable,
  checkLibvirtName,
  checkOverlay,
  checkReference,
  presentOf,
  type RuleInput,
} from './rules.ts';
import { checkLabelSelector } from './rules-scheduling.ts';
import { diskSources, virtualDiskConditions, type VirtualDisk } from './virtual-disk.ts';
import { imageSources, type VirtualImage } from './virtual-image.ts';
import type { VirtualPool } from './virtual-pool.ts';

/** The rules of a VirtualDisk beyond its schema. */
export function checkDisk({ object, old, lookup, problems }: RuleInput<VirtualDisk>): void {
  const { spec } = object;
  const { namespace = '', name = '' } = object.metadata;
  checkLibvirtName(spec.volume?.name ?? `${namespace}.${name}.qcow2`, 'metadata.name', problems);
  const present = presentOf(spec.source, diskSources);
  if (present.length > 1) problems.add('spec.source', 'Invalid', `expected only one of ${present.join(' and ')}`);
  if (
    (present.length === 0 || present[0] === 'blank') &&
    spec.capacity === undefined &&
    spec.volume?.capacity === undefined
  ) {
    problems.add('spec.capacity', 'Required', 'is required for a blank disk');
  }
  const bytes = spec.capacity === undefined ? undefined : parseQuantity(spec.capacity);
  if (bytes === 0) problems.add('spec.capacity', 'Invalid', 'must be more than 0');
  // What no file can be: off_t is signed.
  if (bytes !== undefined && bytes >= 2 ** 63) problems.add('spec.capacity', 'Invalid', 'must be less than 8Ei');
  if (spec.encryption !== undefined) {
    const format = spec.volume?.target?.format?.type ?? spec.format;
    if (format !== undefined && format !== 'raw' && format !== 'qcow2') {
      problems.add('spec.encryption', 'Invalid', `is for raw and qcow2 only, not for ${format}`);
    }
    const secret = spec.encryption.secretRef.name;
    checkReference(lookup, 'Secret', namespace, secret, 'spec.encryption.secretRef.name', problems);
  }
  const existing = spec.source?.import;
  if (existing !== undefined) {
    checkExactlyOne(existing, ['volume', 'path'], 'spec.source.import', problems);
    checkHostPath(existing.path, 'spec.source.import.path', problems);
    if (existing.volume !== undefined) checkLibvirtName(existing.volume, 'spec.source.import.volume', problems);
  }
  if (spec.source?.clone?.name === name && name !== '') {
    problems.add('spec.source.clone.name', 'Invalid', 'a disk cannot be a clone of itself');
  }
  if (spec.bindingMode === 'Immediate' && old === undefined && (spec.nodeName ?? '') === '') {
    const pool = lookup?.find('VirtualPool', undefined, spec.pool ?? 'default') as VirtualPool | undefined;
    if (pool !== undefined && pool.spec.shared !== true) {
      problems.warn('spec.nodeName', 'Required', 'should name the node, since each node has this pool for itself');
    }
  }
  checkReference(lookup, 'VirtualPool', undefined, spec.pool, 'spec.pool', problems);
  checkReference(lookup, 'VirtualImage', namespace, spec.source?.image?.name, 'spec.source.image.name', problems);
  checkReference(lookup, 'VirtualDisk', namespace, spec.source?.clone?.name, 'spec.source.clone.name', problems);
  const snapshot = spec.source?.snapshot?.name;
  checkReference(lookup, 'VirtualMachineSnapshot', namespace, snapshot, 'spec.source.snapshot.name', problems);
  checkOverlay('storagevol', spec.overlay, problems);
  checkImmutable(spec, old?.spec, ['source', 'pool', 'nodeName', 'format', 'encryption'], problems);
  if (old !== undefined) checkShrink(object, old, problems);
}

function checkShrink({ spec }: VirtualDisk, old: VirtualDisk, problems: Problems): void {
  const wanted = spec.capacity === undefined ? undefined : parseQuantity(spec.capacity);
  const is = parseQuantity(old.status?.capacity ?? old.spec.capacity ?? '');
  if (wanted === undefined || is === undefined || wanted >= is || spec.allowShrink === true) return;
  if (findCondition(old.status, virtualDiskConditions.Ready)?.status !== 'True' && old.status?.capacity === undefined)
    return;
  problems.add(
    'spec.capacity',
    'Forbidden',
    `shrinking from ${formatBytesRounded(is)} to ${formatBytesRounded(wanted)} destroys what is stored behind the new ` +
      'end; set allowShrink: true to do it nevertheless',
  );
}

/** The rules of a VirtualImage beyond its schema. */
export function checkImage({ object, old, lookup, problems }: RuleInput<VirtualImage>): void {
  const { spec } = object;
  const { namespace = '' } = object.metadata;
  checkLibvirtName(imageVolumeName(object), 'metadata.name', problems);
  checkExactlyOne(spec.source, imageSources, 'spec.source', problems);
  checkHostPath(spec.source.file?.path, 'spec.source.file.path', problems);
  const { http } = spec.source;
  if (http !== undefined) {
    checkUrl(http.url, problems);
    for (const member of ['caSecretRef', 'clientCertificateSecretRef', 'headersSecretRef'] as const) {
      checkReference(lookup, 'Secret', namespace, http[member]?.name, `spec.source.http.${member}.name`, problems);
    }
    if (http.checksum === 'none') {
      problems.warn('spec.source.http.checksum', 'Invalid', 'is waived: whatever the server sends is taken');
    }
  }
  checkReference(lookup, 'VirtualPool', undefined, spec.pool, 'spec.pool', problems);
  checkReference(lookup, 'VirtualDisk', namespace, spec.source.disk?.name, 'spec.source.disk.name', problems);
  checkLabelSelector(spec.nodeSelector, 'spec.nodeSelector', problems);
  checkImmutable(spec, old?.spec, ['source', 'pool', 'format'], problems);
}

function checkUrl(text: string, problems: Problems): void {
  const path = 'spec.source.http.url';
  if (!URL.canParse(text)) {
    problems.add(path, 'Invalid', 'is not a URL');
    return;
  }
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') {
    problems.add(
      path,
      'Forbidden',
      'must not hold a user or password, which everybody would read; use headersSecretRef',
    );
  }
}

/** The rules of a VirtualPool beyond its schema. */
export function checkPool({ object, old, lookup, problems }: RuleInput<VirtualPool>): void {
  const { spec } = object;
  checkLibvirtName(
    spec.pool?.name ?? object.metadata.name ?? '',
    spec.pool?.name === undefined ? 'metadata.name' : 'spec.pool.name',
    problems,
  );
  if (spec.pool === undefined) problems.add('spec.pool', 'Required', 'is required');
  else if (spec.pool.type === undefined) problems.add('spec.pool.type', 'Required', 'is required');
  checkLabelSelector(spec.nodeSelector, 'spec.nodeSelector', problems);
  checkOverlay('storagepool', spec.overlay, problems);
  const secret = spec.authSecretRef;
  checkReference(lookup, 'Secret', secret?.namespace, secret?.name, 'spec.authSecretRef.name', problems);
  const type = spec.pool?.type;
  if (secret !== undefined && type !== undefined && !['rbd', 'iscsi', 'iscsi-direct'].includes(type)) {
    problems.add('spec.authSecretRef', 'Forbidden', `must not be set: pools of type ${type} take no password`);
  }
  if (old?.spec.pool === undefined || spec.pool === undefined) return;
  for (const member of ['name', 'type'] as const) {
    if (spec.pool[member] !== old.spec.pool[member])
      problems.add(`spec.pool.${member}`, 'Forbidden', 'cannot be changed');
  }
}
