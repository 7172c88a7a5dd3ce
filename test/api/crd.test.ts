import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { crdFiles } from '../../scripts/generate-crds.ts';
import { customResourceDefinition, type CustomResourceDefinition } from '../../src/api/crd.ts';
import type { JsonSchema } from '../../src/api/json-schema.ts';
import { findKind, kinds } from '../../src/api/kinds.ts';
import { commandLine } from '../support/command-line.ts';

const folder = resolve(import.meta.dirname, '../../deploy/crds');
const crds = kinds.map(customResourceDefinition);

function schemaOf(crd: CustomResourceDefinition): JsonSchema {
  const schema = crd.spec.versions[0]?.schema.openAPIV3Schema;
  if (schema === undefined) throw new Error('no schema');
  return schema;
}

/** Every node of a schema with its path. */
function* walk(schema: JsonSchema, path: string): Generator<[string, JsonSchema]> {
  yield [path, schema];
  for (const [name, property] of Object.entries(schema.properties ?? {})) yield* walk(property, `${path}.${name}`);
  if (schema.items !== undefined) yield* walk(schema.items, `${path}[]`);
  if (typeof schema.additionalProperties === 'object') yield* walk(schema.additionalProperties, `${path}{}`);
}

function at(crd: string, path: string): JsonSchema | undefined {
  const found = crds.find((one) => one.spec.names.kind === crd);
  if (found === undefined) throw new Error(`no ${crd}`);
  return [...walk(schemaOf(found), '')].find(([where]) => where === path)?.[1];
}

describe('the checked-in CRDs', () => {
  it('are what the generator writes', () => {
    const files = crdFiles();
    expect(readdirSync(folder).sort()).toEqual([...files.keys()].sort());
    for (const [name, text] of files) expect(readFileSync(resolve(folder, name), 'utf8') === text, name).toBe(true);
  });

  it('say the same in YAML 1.1, which kubectl reads, as in JSON', () => {
    for (const [index, text] of [...crdFiles().values()].entries()) {
      expect(parse(text, { version: '1.1' })).toEqual(JSON.parse(JSON.stringify(crds[index])));
    }
  });

  it('stay well under what etcd takes, each', () => {
    for (const crd of crds) expect(JSON.stringify(crd).length, crd.spec.names.kind).toBeLessThan(750_000);
  });
});

describe('every CRD', () => {
  it('is structural: each level has a type or is int-or-string, and nothing has both properties and others', () => {
    for (const crd of crds) {
      for (const [path, node] of walk(schemaOf(crd), crd.spec.names.kind)) {
        expect(node.type !== undefined || node['x-kubernetes-int-or-string'] === true, path).toBe(true);
        expect(node.properties !== undefined && node.additionalProperties !== undefined, path).toBe(false);
        if (node.type === 'array') expect(node.items, path).toBeDefined();
      }
    }
  });

  it('describes every field that is ours', () => {
    const libvirts = /\.(domain|network|pool|volume|domainsnapshot|device)\b[.[]/;
    for (const crd of crds) {
      for (const [path, node] of walk(schemaOf(crd), crd.spec.names.kind)) {
        if (/\.metadata$/.test(path) || (path.includes('.spec') && libvirts.test(path))) continue;
        expect(node.description, path).toMatch(/\S/);
      }
    }
  });

  it('lists by key only what every entry must have', () => {
    for (const crd of crds) {
      for (const [path, node] of walk(schemaOf(crd), crd.spec.names.kind)) {
        for (const key of node['x-kubernetes-list-map-keys'] ?? []) expect(node.items?.required, path).toContain(key);
      }
    }
  });

  it('is open only where libvirt recurses', () => {
    for (const crd of crds) {
      for (const [path, node] of walk(schemaOf(crd), crd.spec.names.kind)) {
        if (node['x-kubernetes-preserve-unknown-fields'] === true) expect(path).toMatch(/backingStore|Store/);
      }
    }
  });

  it('has the status subresource, the category virt, and an age', () => {
    for (const crd of crds) {
      expect(crd.spec.names.categories).toEqual(['virt']);
      expect(crd.spec.versions[0]?.subresources).toEqual({ status: {} });
      expect(crd.spec.versions[0]?.additionalPrinterColumns.map((one) => one.name)).toContain('Age');
    }
  });
});

describe('the libvirt documents', () => {
  it('are in their kinds, down to the last attribute', () => {
    expect(at('VirtualMachine', '.spec.domain.devices.disk[].driver.cache')?.enum).toContain('writethrough');
    expect(at('VirtualMachine', '.spec.volumes[].device.iotune.read_bytes_sec')).toBeDefined();
    expect(at('VirtualMachine', '.spec.interfaces[].device.driver.queues')).toBeDefined();
    expect(at('VirtualNetwork', '.spec.network.forward.mode')?.enum).toContain('nat');
    expect(at('VirtualPool', '.spec.pool.type')?.enum).toContain('dir');
    expect(at('VirtualDisk', '.spec.volume.target.format.type')).toBeDefined();
    expect(at('VirtualMachineSnapshot', '.spec.domainsnapshot.disks.disk[].snapshot')).toBeDefined();
  });

  it('are described, with libvirt as the source', () => {
    expect(at('VirtualMachine', '.spec.domain.devices.disk[].driver.cache')?.description).toMatch(/\S/);
  });
});

describe('findKind', () => {
  it('knows a kind by all its names, in any case, with and without the group', () => {
    for (const word of ['vm', 'vms', 'VirtualMachine', 'virtualmachine', 'virtualmachines', 'VM']) {
      expect(findKind(word)?.kind, word).toBe('VirtualMachine');
    }
    expect(findKind('virtualdisks.virtctl.dev')?.kind).toBe('VirtualDisk');
    expect(findKind('hv.v1alpha1.virtctl.dev')?.kind).toBe('Hypervisor');
    expect(findKind('pods')).toBeUndefined();
  });

  it('never takes one name for two kinds', () => {
    const names = kinds.flatMap((one) => [one.plural, one.singular, ...one.shortNames]);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('virtctl crd', () => {
  it('prints every kind as YAML documents', async () => {
    const { exitCode, stdout, stderr } = await commandLine(['crd']);
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(parseAllDocuments(stdout, { version: '1.1' }).map((one) => one.toJS() as unknown)).toEqual(
      JSON.parse(JSON.stringify(crds)),
    );
  });

  it('prints only the kinds that are named, once each, as JSON', async () => {
    const one = await commandLine(['crd', 'vm', '-o', 'json']);
    expect((JSON.parse(one.stdout) as CustomResourceDefinition).spec.names.kind).toBe('VirtualMachine');
    const two = await commandLine(['crd', 'vdisk', 'hv', 'virtualdisks', '-o', 'json']);
    const list = JSON.parse(two.stdout) as { kind: string; items: CustomResourceDefinition[] };
    expect([list.kind, list.items.map((item) => item.spec.names.plural)]).toEqual([
      'List',
      ['virtualdisks', 'hypervisors'],
    ]);
  });

  it('refuses a kind that there is not, and says which there are', async () => {
    const { exitCode, stdout, stderr } = await commandLine(['crd', 'pod']);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/no kind "pod"[^]*VirtualMachine/);
  });
});
