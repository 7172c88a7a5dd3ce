import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { markedMetadata, readMarkedMetadata } from '../../../src/executor/virtual-machine/marked-metadata.ts';
import {
  bootElement,
  machineElement,
  readBootMark,
  readMachineMark,
  type MachineMark,
} from '../../../src/executor/virtual-machine/domain-metadata.ts';

const mark: MachineMark = {
  namespace: 'shop',
  name: 'web',
  uid: '8a2b2f0c-0b4e-4d0e-9a5c-3c1d0b9e7f11',
  generation: 7,
  spec: { runStrategy: 'Always' },
  metadata: { labels: { app: 'web' }, annotations: { owner: 'me' } },
  applied: { title: 'web' },
  ignored: [{ path: 'cpu.mode', to: '"x"', from: undefined }],
};

describe("the element in a domain's metadata", () => {
  it('gives back what was put in, for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 6000 }), fc.jsonValue(), (title, spec) => {
        const full = { ...mark, applied: { title }, spec: { any: JSON.stringify(spec) } };
        const { attributes, text } = machineElement(full);
        expect(readMachineMark(attributes, text)).toEqual(full);
      }),
    );
  });

  it('compresses what is large', () => {
    const { attributes, text } = machineElement({ ...mark, applied: { description: 'x'.repeat(100_000) } });
    expect(attributes['encoding']).toBe('deflate');
    expect(text.length).toBeLessThan(2000);
  });

  it('never holds a password or the texts of cloud-init', () => {
    const secret = 'correct horse';
    const { text } = machineElement({
      ...mark,
      spec: { volumes: [{ name: 'seed', cloudInit: { userData: secret } }] },
      applied: { devices: { graphics: [{ type: 'vnc', passwd: secret }] } },
    });
    expect(text).not.toContain(secret);
    expect(text).toContain('passwd');
  });

  it('reads a damaged one as one that applied nothing', () => {
    const { attributes } = machineElement(mark);
    expect(readMachineMark(attributes, '{"appl')).toMatchObject({ uid: mark.uid, applied: {}, ignored: [] });
    expect(readMachineMark({ ...attributes, encoding: 'deflate' }, '!!')).toMatchObject({ applied: {} });
    expect(readMachineMark({}, '')).toBeUndefined();
  });

  it('marks a boot', () => {
    const boot = { id: 'b1', at: 1_700_000_000_000, baseline: [{ path: 'cpu.mode', to: undefined, from: '"custom"' }] };
    const { attributes, text } = bootElement(boot);
    expect(readBootMark(attributes, text)).toEqual(boot);
  });

  it("keeps an object's labels and small annotations, and leaves out what tools write for themselves", () => {
    const metadata = {
      labels: { tier: 'front', app: 'web' },
      annotations: {
        'kubectl.kubernetes.io/last-applied-configuration': '{}',
        large: 'x'.repeat(5000),
        owner: 'me',
      },
    };
    expect(markedMetadata({ metadata })).toEqual({
      labels: { app: 'web', tier: 'front' },
      annotations: { owner: 'me' },
    });
    expect(markedMetadata({ metadata: {} })).toEqual({});
    expect(readMarkedMetadata({ labels: { app: 'web', odd: 7 }, annotations: 'none' })).toEqual({
      labels: { app: 'web' },
    });
  });
});
