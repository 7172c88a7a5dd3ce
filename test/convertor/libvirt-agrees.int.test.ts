import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyser/analyse.ts';
import { render } from '../../src/convertor/render.ts';
import { LibvirtError } from '../../src/libvirt/errors.ts';
import { openLibvirt, type Libvirt } from '../../src/libvirt/libvirt.ts';
import { corpusDocuments, ownDocuments } from '../support/libvirt-documents.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';

const domains = [...ownDocuments, ...corpusDocuments].filter(({ text }) => analyse(text).kind === 'domain');

describe('a real libvirt', () => {
  let node: LibvirtdNode;
  let libvirt: Libvirt;

  beforeAll(async () => {
    node = await startLibvirtd();
    libvirt = await openLibvirt(node.uri);
  });

  afterAll(async () => {
    await libvirt.close();
    await node.close();
  });

  /** What libvirt makes of a document, or why it does not take it. What it draws by lot has no part in it. */
  async function definition(xml: string): Promise<{ readonly xml: string } | { readonly refused: string }> {
    let domain;
    try {
      domain = await libvirt.domains.defineXml(xml);
    } catch (error) {
      if (error instanceof LibvirtError) return { refused: error.message };
      throw error;
    }
    const defined = await domain.xml({ inactive: true, secure: true });
    await domain.undefine({ nvram: true, snapshotsMetadata: true });
    return { xml: withoutDrawn(defined, xml) };
  }

  it('dumps the same for every domain and for what it was converted to', async () => {
    let taken = 0;
    for (const { name, text } of domains) {
      const { kind, value, overlay } = analyse(text);
      const before = await definition(text);
      const after = await definition(render(kind, value, overlay));
      if ('xml' in before) taken += 1;
      expect({ name, ...after }).toEqual({ name, ...before });
    }
    expect(taken).toBeGreaterThan(2);
  });
});

/** Without the UUID, MAC addresses and generation id that libvirt drew because the document has none. */
function withoutDrawn(defined: string, document: string): string {
  const { value } = analyse(document);
  let text = defined;
  if (value['uuid'] === undefined) text = text.replace(/<uuid>[^<]*<\/uuid>/, '<uuid/>');
  if (value['genid'] === '') text = text.replace(/<genid>[^<]*<\/genid>/, '<genid/>');
  const devices = (value['devices'] ?? {}) as { interface?: readonly { mac?: unknown }[] };
  const drawn = devices.interface?.some(({ mac }) => mac === undefined) ?? false;
  return drawn ? text.replaceAll(/<mac address='[^']*'/g, '<mac') : text;
}
