import { describe, expect, it } from 'vitest';
import { documentKinds } from '../../src/model/document-kind.ts';
import { explainField } from '../../src/model/explain.ts';
import { openApiSchema, type JsonSchemaProps } from '../../src/model/openapi.ts';
import {
  fieldAt,
  kindOfRootElement,
  modelSize,
  rootElement,
  rootType,
  type ElementType,
} from '../../src/model/schema.ts';
import { validateDocument } from '../../src/model/validate.ts';

/** Every type of a kind with one path to it, by walking the fields. */
function typesOf(kind: (typeof documentKinds)[number]): Map<ElementType, string[]> {
  const found = new Map<ElementType, string[]>();
  const walk = (type: ElementType, path: string[]): void => {
    if (found.has(type)) return;
    found.set(type, path);
    for (const field of type.fields.values()) if (field.type !== undefined) walk(field.type, [...path, field.key]);
  };
  walk(rootType(kind), []);
  return found;
}

describe('the model of libvirt 11.3', () => {
  it('has all 533 types of a domain, beside its root and the metadata of other people, and all 2,817 nodes', () => {
    const { types, nodes } = modelSize('domain');
    expect(types - 2).toBe(533);
    expect(nodes).toBe(2817);
  });

  it.each([
    ['domainsnapshot', 553, 6026],
    ['domaincheckpoint', 542, 2829],
    ['network', 44, 165],
    ['networkport', 18, 54],
    ['storagepool', 38, 82],
    ['storagevol', 34, 66],
    ['nwfilter', 29, 413],
    ['secret', 7, 10],
    ['nodedev', 86, 130],
  ] as const)('loses nothing of %s', (kind, types, nodes) => {
    expect(modelSize(kind)).toEqual({ types, nodes });
  });

  it('renames exactly the children that share a name with an attribute', () => {
    const renamed = [...typesOf('domain')].flatMap(([type, path]) =>
      [...type.fields.values()]
        .filter(({ node, key, xmlName }) => node === 'element' && key !== xmlName)
        .map(({ key }) => [...path, key].join('.')),
    );
    expect(renamed.sort()).toEqual([
      'devices.controller.modelConfig',
      'devices.disk.mirror.formatConfig',
      'devices.graphics.listens',
      'devices.interface.source.addressConfig',
      'os.firmwareConfig',
    ]);
  });

  it.each([
    ['domain', 'devices.disk', true],
    ['domain', 'devices.smartcard.certificate', true],
    ['domain', 'devices.emulator', false],
    ['domain', 'devices.graphics.listens', true],
    ['domain', 'os.boot', true],
    ['domain', 'vcpu', false],
    ['domain', 'qemu:commandline.qemu:arg', true],
    ['network', 'dns.host.hostname', true],
    ['nwfilter', 'rule', true],
  ] as const)('says whether %s %s repeats', (kind, path, list) => {
    expect(fieldAt(kind, path.split('.'))?.list).toBe(list);
  });

  it('finds the kind of a root element', () => {
    for (const kind of documentKinds) expect(kindOfRootElement(rootElement(kind))).toBe(kind);
    expect(kindOfRootElement('html')).toBeUndefined();
  });

  it('reaches every field by its path', () => {
    for (const [type, path] of typesOf('domain')) {
      for (const field of type.fields.values()) expect(fieldAt('domain', [...path, field.key])).toBe(field);
    }
    expect(fieldAt('domain', ['devices', 'nothing'])).toBeUndefined();
    expect(fieldAt('domain', [])).toBeUndefined();
  });
});

describe('the OpenAPI schema', () => {
  const structural = (schema: JsonSchemaProps, path: string): string[] => [
    ...(schema.type === undefined && schema['x-kubernetes-int-or-string'] !== true ? [`${path} has no type`] : []),
    ...(schema.pattern?.includes('(?=') === true ? [`${path} has a pattern that RE2 does not read`] : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([key, one]) => structural(one, `${path}.${key}`)),
    ...(schema.items === undefined ? [] : structural(schema.items, `${path}[]`)),
  ];

  it.each(documentKinds)('is structural: %s', (kind) => {
    expect(structural(openApiSchema(kind, { descriptions: true }), kind)).toEqual([]);
  });

  it('has every field of the model, and is open only where libvirt’s schema recurses', () => {
    const open: string[] = [];
    const compare = (schema: JsonSchemaProps | undefined, type: ElementType, path: string): void => {
      if (schema?.['x-kubernetes-preserve-unknown-fields'] === true) {
        open.push(path);
        return;
      }
      expect(Object.keys(schema?.properties ?? {})).toEqual([...type.fields.keys()]);
      for (const field of type.fields.values()) {
        const own = schema?.properties?.[field.key];
        if (field.type !== undefined) compare(field.list ? own?.items : own, field.type, `${path}.${field.key}`);
      }
    };
    compare(openApiSchema('domain'), rootType('domain'), 'domain');
    expect(open.length).toBeGreaterThan(0);
    expect(open.filter((path) => !/(?:\.backingStore\.backingStore|\.dataStore\.source)$/.test(path))).toEqual([]);
  });

  it('has no description unless asked', () => {
    expect(JSON.stringify(openApiSchema('secret'))).not.toContain('description":"');
    expect(openApiSchema('secret', { descriptions: true }).properties?.['usage']?.description).toMatch(
      /^Element <usage>/,
    );
  });
});

describe('the validator', () => {
  const messages = (value: unknown): string[] =>
    validateDocument('domain', value, 'spec.domain').map(({ path, message }) => `${path}: ${message}`);

  it('names every problem with its path and the nearest known key', () => {
    expect(
      messages({
        nmae: 'a',
        vcpu: 2,
        os: { firmware: { feature: [] } },
        devices: {
          disk: [{ drivr: {} }, { driver: { cache: 'non', detect_zeroes: false } }],
          graphics: [{ listen: '::1' }, 'vnc'],
          interface: {},
          input: null,
        },
        features: { acpi: 'on', apic: { eoi: 'on' } },
      }),
    ).toEqual([
      'spec.domain.nmae: unknown key; did you mean name?',
      'spec.domain.vcpu: expected an object, found 2; the text of the element is the key value',
      'spec.domain.os.firmware: expected one of bios, efi, found an object',
      'spec.domain.devices.disk[0].drivr: unknown key; did you mean driver?',
      'spec.domain.devices.disk[1].driver.cache: expected one of default, none, writeback, writethrough, directsync, unsafe, found "non"; did you mean none?',
      'spec.domain.devices.disk[1].driver.detect_zeroes: expected "off" in quotation marks: without them YAML reads a boolean',
      'spec.domain.devices.graphics[1]: expected an object, found "vnc"',
      'spec.domain.devices.interface: expected a list, found an object: libvirt takes it several times',
      'spec.domain.devices.input: expected a list, found nothing: libvirt takes it several times',
      'spec.domain.features.acpi: expected an object, found "on"',
      'spec.domain.features.apic.eoi: expected true or false, found the string "on"; leave the quotation marks off',
    ]);
  });

  it('suggests the other key of a renamed child', () => {
    expect(messages({ devices: { graphics: [{ listns: [] }] } })).toEqual([
      'spec.domain.devices.graphics[0].listns: unknown key; did you mean listens?',
    ]);
  });

  it('checks inside recursion as outside', () => {
    const chain = { backingStore: { backingStore: { backingStore: { format: { tpye: 'raw' } } } } };
    expect(messages({ devices: { disk: [chain] } })).toEqual([
      'spec.domain.devices.disk[0].backingStore.backingStore.backingStore.format.tpye: unknown key; did you mean type?',
    ]);
  });

  it('ends on values that are absurdly deep or wrong everywhere', () => {
    let deep: object = {};
    for (let level = 0; level < 10_000; level += 1) deep = { backingStore: deep };
    expect(messages({ devices: { disk: [deep] } })).toHaveLength(1);
    const wrong = Object.fromEntries(Array.from({ length: 5000 }, (_, number) => [`key${number}`, 1]));
    expect(messages(wrong)).toHaveLength(1000);
    expect(messages(undefined)).toEqual(['spec.domain: expected an object, found nothing']);
  });

  it('does not take inherited names for keys', () => {
    expect(messages(JSON.parse('{"__proto__": 1, "constructor": 2}'))).toHaveLength(2);
  });
});

describe('an explanation', () => {
  it('says what a field is and where libvirt describes it', () => {
    expect(explainField('domain', ['devices', 'disk', 'driver', 'cache'])).toMatchObject({
      type: 'string',
      list: false,
      enum: ['default', 'none', 'writeback', 'writethrough', 'directsync', 'unsafe'],
      link: 'https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms',
      fields: [],
    });
    expect(explainField('domain', ['devices', 'disk'])).toMatchObject({ type: '[]Object', list: true });
    expect(explainField('domain', [])?.fields[0]).toMatchObject({ key: 'type', type: 'string' });
    expect(explainField('domain', ['nothing'])).toBeUndefined();
  });
});
