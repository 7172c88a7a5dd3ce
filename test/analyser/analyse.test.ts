import { describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyser/analyse.ts';
import { InvalidInputError } from '../../src/base/errors.ts';
import { render } from '../../src/convertor/render.ts';
import { ownDocument } from '../support/libvirt-documents.ts';

function value(xml: string): unknown {
  return analyse(xml).value;
}

function problem(text: string): string {
  try {
    analyse(text, { file: 'vm.xml' });
  } catch (error) {
    if (error instanceof InvalidInputError) return error.message;
    throw error;
  }
  return 'no error';
}

describe('the rules of libvirt’s YAML', () => {
  it('makes attributes and children keys, and text beside them `value`', () => {
    expect(value('<domain type="kvm"><memory unit="MiB">2</memory><name>a</name></domain>')).toEqual({
      type: 'kvm',
      memory: { unit: 'MiB', value: 2 },
      name: 'a',
    });
  });

  it('makes a list of what may repeat, also of a single one, and of nothing else', () => {
    const { devices } = value(
      '<domain><devices><disk/><emulator>/q</emulator><smartcard mode="host-certificates"><certificate>c</certificate></smartcard></devices></domain>',
    ) as { devices: unknown };
    expect(devices).toEqual({
      disk: [{}],
      emulator: '/q',
      smartcard: [{ mode: 'host-certificates', certificate: ['c'] }],
    });
  });

  it('writes an empty element as an empty object', () => {
    expect(value('<domain><features><acpi/><pae></pae></features></domain>')).toEqual({
      features: { acpi: {}, pae: {} },
    });
  });

  it('makes booleans of yes|no and on|off, and of no other words', () => {
    expect(
      value(
        '<domain><features><apic eoi="off"/></features><devices><disk rawio="yes"><driver detect_zeroes="off" iothread="1"/></disk></devices></domain>',
      ),
    ).toEqual({
      features: { apic: { eoi: false } },
      devices: { disk: [{ rawio: true, driver: { detect_zeroes: 'off', iothread: 1 } }] },
    });
  });

  it('keeps integers beyond 2^53, hexadecimal and octal numbers as strings', () => {
    expect(
      value(
        '<domain><memory>18446744073709551615</memory><memtune><hard_limit>9007199254740991</hard_limit><soft_limit>9007199254740992</soft_limit></memtune>' +
          '<devices><disk><address type="pci" slot="0x01" bus="1"/></disk><filesystem fmode="0744"/></devices></domain>',
      ),
    ).toEqual({
      memory: { value: '18446744073709551615' },
      memtune: { hard_limit: { value: 9007199254740991 }, soft_limit: { value: '9007199254740992' } },
      devices: { disk: [{ address: { type: 'pci', slot: '0x01', bus: '1' } }], filesystem: [{ fmode: '0744' }] },
    });
  });

  it('gives a child another key where an attribute has its name', () => {
    expect(
      value(
        '<domain><os firmware="efi"><firmware><feature enabled="no" name="secure-boot"/></firmware></os>' +
          '<devices><controller type="pci" model="pcie-root-port"><model name="ioh3420"/></controller>' +
          '<graphics type="vnc" listen="::1"><listen type="address"/></graphics></devices></domain>',
      ),
    ).toEqual({
      os: { firmware: 'efi', firmwareConfig: { feature: [{ enabled: false, name: 'secure-boot' }] } },
      devices: {
        controller: [{ type: 'pci', model: 'pcie-root-port', modelConfig: { name: 'ioh3420' } }],
        graphics: [{ type: 'vnc', listen: '::1', listens: [{ type: 'address' }] }],
      },
    });
  });

  it('uses the prefix that libvirt documents, whatever the document uses', () => {
    const expected = { 'qemu:commandline': { 'qemu:arg': [{ value: '-s' }] } };
    const uri = 'http://libvirt.org/schemas/domain/qemu/1.0';
    expect(
      value(`<domain xmlns:qemu="${uri}"><qemu:commandline><qemu:arg value="-s"/></qemu:commandline></domain>`),
    ).toEqual(expected);
    expect(value(`<domain xmlns:z="${uri}"><z:commandline><z:arg value="-s"/></z:commandline></domain>`)).toEqual(
      expected,
    );
    expect(value(`<domain><commandline xmlns="${uri}"><arg value="-s"/></commandline></domain>`)).toEqual(expected);
  });

  it('keeps metadata byte for byte', () => {
    const piece = '<a:b xmlns:a="u"  c=\'d\' >\r\n<!-- e --><![CDATA[<]]>&#65;</a:b >';
    const { metadata } = value(`<domain><metadata>\n ${piece}\n <f/></metadata></domain>`) as { metadata: unknown };
    expect(metadata).toEqual([piece, '<f/>']);
    expect(render('domain', { metadata })).toContain(piece);
  });

  it('keeps a namespace declaration outside of the metadata that uses it', () => {
    const { value: found, overlay } = analyse('<domain xmlns:a="u" xmlns:b="v"><metadata><a:c/></metadata></domain>');
    expect(overlay).toEqual([{ at: '', attributes: { 'xmlns:a': 'u' } }]);
    expect(render('domain', found, overlay, { pretty: false })).toBe(
      '<domain xmlns:a="u"><metadata><a:c/></metadata></domain>',
    );
  });

  it('resolves entities, character references and CDATA in text', () => {
    expect(value('<domain><title>a&amp;<![CDATA[<b>]]>&#x63;<!-- no --> d</title></domain>')).toEqual({
      title: 'a&<b>c d',
    });
  });

  it('reads line ends as XML does and keeps those that are written as references', () => {
    expect(value('<domain>\r\n<description>a\r\nb&#13;c</description></domain>')).toEqual({ description: 'a\nb\rc' });
    expect(value('<network><dns><txt value="a\n\tb&#10;d"/></dns></network>')).toEqual({
      dns: { txt: [{ value: 'a  b\nd' }] },
    });
  });
});

describe('what the tables do not know', () => {
  it('goes to the overlay with the path of its element and is reported with its place', () => {
    const text = '<domain>\n  <devices>\n    <disk><driver iops="1"/></disk>\n    <dsik/>\n  </devices>\n</domain>';
    const { value: found, overlay, problems } = analyse(text);
    expect(found).toEqual({ devices: { disk: [{ driver: {} }] } });
    expect(overlay).toEqual([
      { at: 'devices.disk[0].driver', attributes: { iops: '1' } },
      { at: 'devices', xml: '<dsik/>' },
    ]);
    expect(problems).toEqual([
      { line: 3, column: 11, path: 'devices.disk[0].driver.iops', message: 'unknown attribute iops' },
      { line: 4, column: 5, path: 'devices.dsik', message: 'unknown element <dsik>; did you mean <disk>?' },
    ]);
  });

  it.each([
    ['a leading zero', '<domain><vcpu>007</vcpu></domain>', { vcpu: {} }],
    ['white space around a number', '<domain><iothreads> 4 </iothreads></domain>', {}],
    ['a word that is not in the enumeration', '<domain type="vax"/>', {}],
    ['a repeated element that the schema has once', '<domain><name>a</name><name>b</name></domain>', { name: 'a' }],
    ['text where none may be', '<domain><devices>x</devices></domain>', { devices: {} }],
    ['an attribute of a text', '<domain><name a="b">c</name></domain>', { name: 'c' }],
  ])('includes %s', (_, text, expected) => {
    const { value: found, overlay, kind } = analyse(text);
    expect(found).toEqual(expected);
    expect(overlay).toHaveLength(1);
    expect(render(kind, found, overlay, { pretty: false })).toBe(text);
  });

  it.each([
    ['<domain><vcpu>007</vcpu></domain>', 'vcpu.value'],
    ['<domain><memory> 1024\n</memory></domain>', 'memory.value'],
    ['<domain><vcpu current=" 1">2</vcpu></domain>', 'vcpu.current'],
    ['<domain type=" kvm "/>', 'type'],
    ['<domain><os><bootmenu enable="yes "/></os></domain>', 'os.bootmenu.enable'],
  ])('is no problem where it only is spelled otherwise: %s', (text, path) => {
    const { overlay, problems, spellings } = analyse(text);
    expect({ entries: overlay.length, problems }).toEqual({ entries: 1, problems: [] });
    expect(spellings).toEqual([
      expect.objectContaining({ path, message: expect.stringMatching(/in a way that YAML does not keep/) as string }),
    ]);
  });

  it.each([
    '<vcpu>0x7</vcpu>',
    '<vcpu>00</vcpu>',
    '<vcpu>4 4</vcpu>',
    '<vcpu>-0</vcpu>',
    '<vcpu>\u00a04</vcpu>',
    '<vcpu/>',
  ])('is a problem where no spelling is a value: %s', (element) => {
    const { overlay, problems, spellings } = analyse(`<domain>${element}</domain>`);
    expect([problems.length, spellings]).toEqual([overlay.length, []]);
  });

  it('declares the namespaces that it takes from around it', () => {
    const { overlay } = analyse('<domain xmlns:a="u"><devices><a:x b="a:c"/></devices></domain>');
    expect(overlay).toEqual([{ at: 'devices', xml: '<a:x xmlns:a="u" b="a:c"/>' }]);
  });
});

describe('the position of a value', () => {
  it('is that of its tag, attribute or text', () => {
    const { positions } = analyse('<domain type="kvm">\n <vcpu current="1">2</vcpu>\n <name>a</name></domain>', {
      positions: true,
    });
    expect(Object.fromEntries(positions)).toEqual({
      '': { line: 1, column: 1 },
      type: { line: 1, column: 9 },
      vcpu: { line: 2, column: 2 },
      'vcpu.current': { line: 2, column: 8 },
      'vcpu.value': { line: 2, column: 20 },
      name: { line: 3, column: 2 },
    });
  });

  it('is known for every value of a document', () => {
    const { value: found, positions } = analyse(ownDocument('domain-web.xml'), { positions: true });
    const paths = (at: unknown, path: string): string[] =>
      typeof at !== 'object' || at === null || path === 'metadata'
        ? [path]
        : Object.entries(at).flatMap(([key, one]) =>
            paths(one, Array.isArray(at) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`),
          );
    expect(paths(found, '').filter((path) => !positions.has(path))).toEqual([]);
  });
});

describe('bad input', () => {
  it.each([
    ['<domain><name>', /^vm\.xml:1:15: not well-formed XML: unclosed tag: /],
    ['<domain>\n <a></b></domain>', /^vm\.xml:2:\d+: not well-formed XML: /],
    ['', /^vm\.xml:1:1: not well-formed XML: document must contain a root element/],
    ['<html/>', /^vm\.xml:1:1: expected a libvirt document \(domain, .*\), found <html>$/],
    ['<doman/>', /did you mean <domain>\?$/],
    ['<domain xmlns="urn:x"/>', /expected a libvirt document/],
    ['<domain><a:b/></domain>', /not well-formed XML: unbound namespace prefix/],
    ['<domain a="1" a="2"/>', /not well-formed XML: duplicate attribute/],
    ['<domain>&x;</domain>', /not well-formed XML: .*entity/],
    ['<domain>\u0001</domain>', /not well-formed XML: disallowed character/],
    ['<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain>&x;</domain>', /DTD\) is refused/],
    ['<!DOCTYPE domain><domain/>', /DTD\) is refused/],
    [
      '<?xml version="1.0" encoding="ISO-8859-1"?><domain><title>\u00e9</title></domain>',
      /ISO-8859-1 is not supported/,
    ],
    [`<domain>${'<a>'.repeat(300)}`, /nested deeper than 256 levels/],
    [`<domain><title>${'é'.repeat(65_536)}</title></domain>`, /the document has 131\d+ bytes; at most 131072/],
  ])('is refused with its place: %#', (text, expected) => {
    expect(problem(text)).toMatch(expected);
  });

  it('takes no time for an expansion bomb or a long run of strange characters', () => {
    const bomb = `<!DOCTYPE a [<!ENTITY a "${'x'.repeat(100)}">${'<!ENTITY b "&a;&a;">'.repeat(50)}]><a>&b;</a>`;
    expect(problem(bomb)).toMatch(/refused/);
    expect(problem(`<domain ${':a'.repeat(30_000)}/>`)).toMatch(/not well-formed/);
    expect(problem(`<domain>${'&'.repeat(100_000)}</domain>`)).toMatch(/not well-formed/);
  });

  it('accepts another encoding’s declaration over plain ASCII, and a byte order mark', () => {
    expect(
      value('\uFEFF<?xml version="1.0" encoding="ISO-8859-1"?>\n<domain><name>a</name></domain>\n<!-- end -->'),
    ).toEqual({ name: 'a' });
  });
});
