import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyser/analyse.ts';
import { InvalidInputError } from '../../src/base/errors.ts';
import { render, type OverlayEntry } from '../../src/convertor/render.ts';

function flat(value: object, overlay: OverlayEntry[] = []): string {
  return render('domain', value, overlay, { pretty: false });
}

function problems(value: object, overlay: OverlayEntry[] = []): unknown {
  try {
    render('domain', value, overlay, { path: 'spec.domain', overlayPath: 'spec.overlay' });
  } catch (error) {
    if (error instanceof InvalidInputError) return error.problems;
    throw error;
  }
  return [];
}

describe('the XML of a value', () => {
  it('has differently named siblings in schema order and lists in their own', () => {
    expect(
      flat({ devices: { disk: [{ device: 'lun' }, { device: 'disk' }], emulator: '/q' }, name: 'a', type: 'kvm' }),
    ).toBe(
      '<domain type="kvm"><name>a</name><devices><emulator>/q</emulator><disk device="lun"/><disk device="disk"/></devices></domain>',
    );
  });

  it('is indented by default and ends with a line break', () => {
    expect(render('domain', { name: 'a', metadata: ['<b>\n</b>', '<c/>'] })).toBe(
      '<domain>\n  <name>a</name>\n  <metadata>\n    <b>\n</b>\n    <c/>\n  </metadata>\n</domain>\n',
    );
  });

  it.each(['&', '&lt;', '&#10;', '<', ']]>', '"', "'", 'a\rb', 'é🖥', ' a ', '\u0085'])('escapes %j', (text) => {
    const xml = flat({ description: text, os: { kernel: '/k', cmdline: text, dtb: '/d' }, vcpu: { value: 1 } });
    expect(analyse(xml).value).toMatchObject({ description: text, os: { cmdline: text } });
    const attribute = { 'qemu:commandline': { 'qemu:arg': [{ value: `${text}\n\t` }] } };
    expect(analyse(flat(attribute)).value).toEqual(attribute);
  });

  it('holds any text, or is refused because XML has none of its characters', () => {
    const strange = fc.constantFrom(
      '<',
      '&',
      ']]>',
      '"',
      '\r\n',
      '\t',
      '\u0000',
      '\u001f',
      '\ud800',
      '\udc00',
      '\ufffe',
      '🖥',
    );
    const text = fc.array(fc.oneof(strange, fc.string({ unit: 'binary', maxLength: 4 })), { maxLength: 6 });
    fc.assert(
      fc.property(text, fc.boolean(), (parts, pretty) => {
        const words = `|${parts.join('')}|`;
        const value = { description: words, 'qemu:commandline': { 'qemu:arg': [{ value: words }] } };
        // Production `Char` of XML 1.0.
        const refused = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.test(words);
        if (refused) expect(() => render('domain', value, [], { pretty })).toThrow(/a character that XML cannot hold/);
        else expect(analyse(render('domain', value, [], { pretty })).value).toEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it('declares libvirt’s prefixes on the root', () => {
    expect(flat({ 'qemu:commandline': { 'qemu:arg': [{ value: '-s' }] } })).toBe(
      '<domain xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"><qemu:commandline><qemu:arg value="-s"/></qemu:commandline></domain>',
    );
  });
});

describe('an overlay', () => {
  it('adds XML and attributes to the element at a path', () => {
    const overlay = [
      { at: 'devices.disk[1]', xml: '<new a="1"/>' },
      { at: 'devices.disk[1]', attributes: { b: '2' } },
      { at: '', xml: '<c/>' },
    ];
    expect(flat({ devices: { disk: [{}, {}] } }, overlay)).toBe(
      '<domain><devices><disk/><disk b="2"><new a="1"/></disk></devices><c/></domain>',
    );
  });

  it.each<[OverlayEntry, string, RegExp]>([
    [{ at: 'devices.tpm', xml: '<a/>' }, 'spec.overlay[0].at', /there is no element "devices\.tpm"/],
    [{ at: '', xml: '<a>' }, 'spec.overlay[0].xml', /not well-formed/],
    [{ at: '', xml: '</domain><domain>' }, 'spec.overlay[0].xml', /not well-formed/],
    [{ at: '', xml: '<!DOCTYPE a><a/>' }, 'spec.overlay[0].xml', /not well-formed/],
    [{ at: '', attributes: { 'a b': 'c' } }, 'spec.overlay[0].attributes.a b', /not a name/],
    [{ at: '' }, 'spec.overlay[0]', /expected xml or attributes/],
  ])('is refused when it cannot be applied: %#', (entry, path, message) => {
    expect(problems({ name: 'a' }, [entry])).toEqual([{ path, message: expect.stringMatching(message) as string }]);
  });

  it('is refused when it uses a prefix that nothing declares', () => {
    expect(problems({}, [{ at: '', xml: '<p:a/>' }])).toEqual([
      expect.objectContaining({ message: expect.stringMatching(/unbound namespace prefix/) as string }),
    ]);
  });
});

describe('a value that libvirt does not take', () => {
  it('is refused with every problem', () => {
    expect(problems({ naem: 'a', vcpu: { value: '2' }, devices: { disk: {} } })).toEqual([
      { path: 'spec.domain.naem', message: 'unknown key; did you mean name?' },
      { path: 'spec.domain.vcpu.value', message: 'expected an integer from 1 to 65535, found "2"' },
      { path: 'spec.domain.devices.disk', message: 'expected a list, found an object: libvirt takes it several times' },
    ]);
  });

  it('cannot smuggle markup in through metadata', () => {
    expect(problems({ metadata: ['</metadata><os/><metadata>'] })).toHaveLength(1);
    expect(problems({ name: 'a\u0001' })).toHaveLength(1);
  });
});

describe('a chain of backing files', () => {
  it.each([1, 250])('may have %i links', (links) => {
    let value: object = {};
    for (let link = 0; link < links; link += 1) value = { backingStore: value };
    const document = { devices: { disk: [value] } };
    expect(analyse(flat(document)).value).toEqual(document);
  });

  it('that is deeper than any document can be is refused', () => {
    let value: object = {};
    for (let link = 0; link < 5000; link += 1) value = { backingStore: value };
    expect(problems({ devices: { disk: [value] } })).toHaveLength(1);
  });
});
