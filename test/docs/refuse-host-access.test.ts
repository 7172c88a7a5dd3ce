import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { kinds } from '../../src/api/kinds.ts';
import type { Node } from '../../src/api/schema.ts';
import { virtualDiskSpec } from '../../src/api/virtual-disk.ts';
import { virtualImageSpec } from '../../src/api/virtual-image.ts';
import { virtualMachineSnapshotSpec } from '../../src/api/virtual-machine-snapshot.ts';
import { virtualNetworkSpec } from '../../src/api/virtual-network.ts';
import { virtualMachineSpec } from '../../src/api/virtual-machine.ts';

interface Policy {
  readonly spec: {
    readonly matchConstraints: { readonly resourceRules: readonly { readonly resources: readonly string[] }[] };
    readonly validations: readonly { readonly message: string; readonly expression: string }[];
  };
}

const file = resolve(import.meta.dirname, '../../docs/examples/refuse-host-access.yaml');
const [policy] = parseAllDocuments(readFileSync(file, 'utf8')).map((one) => one.toJS() as Policy);

/** The words in quotes of the expression that speaks of a field. */
function wordsAbout(field: string): string[] {
  const found = policy?.spec.validations.find(({ message }) => message.startsWith(field));
  return [...(found?.expression ?? '').matchAll(/'([^']+)'/g)].map((match) => match[1] ?? '').slice(1);
}

/** The members of an object of a schema, by the path to it. */
function membersOf(node: Node, ...path: string[]): string[] {
  const [next, ...rest] = path;
  if (node.type === 'list') return membersOf(node.item, ...path);
  if (node.type !== 'object') throw new Error(`${node.type} has no members`);
  const below = next === undefined ? undefined : node.fields[next];
  if (next === undefined) return Object.keys(node.fields);
  if (below === undefined) throw new Error(`there is no ${next}`);
  return membersOf(below, ...rest);
}

/** The schemas that pass on what is not ours: libvirt's own XML. */
function documentsOf({ node }: { readonly node: Node }): string[] {
  if (node.type !== 'object') return [];
  return Object.entries(node.fields).flatMap(([name, one]) => (one.type === 'document' ? [name] : []));
}

describe('docs/examples/refuse-host-access.yaml', () => {
  it('is about every kind that has a namespace and becomes something of libvirt', () => {
    const known = kinds.filter(({ namespaced }) => namespaced).map(({ plural }) => plural);
    const named = policy?.spec.matchConstraints.resourceRules.flatMap(({ resources }) => resources) ?? [];
    // An operation names no files.
    expect([...named, 'virtualmachineoperations'].sort()).toEqual([...known].sort());
  });

  it('allows every field of a volume but those that reach the node, and names none that is not there', () => {
    const members = membersOf(virtualMachineSpec.node, 'volumes');
    expect(wordsAbout('spec.volumes').sort()).toEqual(
      members.filter((name) => !['hostPath', 'device'].includes(name)).sort(),
    );
  });

  it('refuses fields of interfaces and sources that are there', () => {
    expect(membersOf(virtualMachineSpec.node, 'interfaces')).toEqual(
      expect.arrayContaining(wordsAbout('spec.interfaces')),
    );
    const sources = [...membersOf(virtualDiskSpec.node, 'source'), ...membersOf(virtualImageSpec.node, 'source')];
    expect(wordsAbout('spec.source')).toEqual(['file', 'import']);
    expect(sources).toEqual(expect.arrayContaining(['file', 'import']));
    expect(membersOf(virtualMachineSnapshotSpec.node, 'disks')).toContain('file');
  });

  it("lets no document of libvirt's through but that of a machine, whose fields it lists", () => {
    expect(documentsOf(virtualNetworkSpec)).toEqual(['network']);
    const refused = [...(policy?.spec.validations[0]?.expression ?? '').matchAll(/'([^']+)'/g)].map(([, word]) => word);
    for (const schema of [virtualDiskSpec, virtualImageSpec, virtualMachineSnapshotSpec]) {
      expect(refused).toEqual(expect.arrayContaining(documentsOf(schema)));
    }
    expect(documentsOf(virtualMachineSpec)).toEqual(['domain']);
    expect(wordsAbout('spec.domain may')).not.toContain('qemu:commandline');
  });
});
