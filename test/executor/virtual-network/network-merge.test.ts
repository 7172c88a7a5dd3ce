import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { corpusDocuments, ownDocuments } from '../../support/libvirt-documents.ts';
import { canonicalNetwork } from '../../../src/executor/virtual-network/canonical-network.ts';
import { planUpdates } from '../../../src/executor/virtual-network/live-updates.ts';
import { differencesOf, mergeNetwork } from '../../../src/executor/virtual-network/network-definition.ts';
import type { DataObject } from '../../../src/executor/virtual-machine/same-value.ts';
import { analyse } from '../../../src/analyser/analyse.ts';

/** Real networks: the project's own, and libvirt's test corpus where it is at hand. */
const real = [...ownDocuments, ...corpusDocuments].flatMap(({ text }): DataObject[] => {
  const { kind, value } = analyse(text);
  return kind === 'network' ? [canonicalNetwork(value as DataObject)] : [];
});
/** One of them, with some of its elements. */
const network = fc
  .constantFrom(...real)
  .chain((one) => fc.subarray(Object.keys(one)).map((keys) => Object.fromEntries(keys.map((key) => [key, one[key]]))));
const paths = (wanted: DataObject, applied: DataObject, actual: DataObject): string[] =>
  differencesOf(wanted, applied, actual).map(({ path }) => path);

describe('merging real networks', () => {
  it('comes to what is wanted, whatever was there and was applied before', () => {
    fc.assert(
      fc.property(network, network, network, (applied, wanted, current) => {
        const merged = mergeNetwork(applied, wanted, current);
        expect(paths(wanted, {}, merged)).toEqual([]);
        // Once more changes nothing.
        expect(mergeNetwork(wanted, wanted, merged)).toEqual(merged);
      }),
      { numRuns: 500 },
    );
  });

  it('leaves nothing of what was applied and is no longer wanted', () => {
    fc.assert(
      fc.property(network, network, (applied, wanted) => {
        const merged = mergeNetwork(applied, wanted, mergeNetwork({}, applied, {}));
        expect(paths(wanted, applied, merged)).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('plans no update where nothing differs, and only well-formed ones where something does', () => {
    fc.assert(
      fc.property(network, network, (live, target) => {
        expect(planUpdates(live, live)).toEqual([]);
        for (const { xml } of planUpdates(live, target))
          expect(xml).toMatch(/^<(host|range|interface|portgroup|txt|srv)[ />]/);
      }),
      { numRuns: 500 },
    );
  });
});
