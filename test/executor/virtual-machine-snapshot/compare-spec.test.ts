import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { restoredSpec, specDifferences } from '../../../src/executor/virtual-machine-snapshot/compare-spec.ts';
import type { DataObject } from '../../../src/executor/virtual-machine/same-value.ts';

/** RFC 7386, as the API server applies it. */
function patched(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const out: Record<string, unknown> =
    typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(out, key);
    else out[key] = patched(out[key], value);
  }
  return out;
}

const leaf = fc.oneof(fc.integer(), fc.boolean(), fc.string({ minLength: 1 }));
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.array(tie('tree'), { minLength: 1, maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'c', 'name'), tie('tree'), { minKeys: 1, maxKeys: 3 }),
  ),
}));
const spec = fc.record(
  {
    domain: fc.dictionary(fc.constantFrom('memory', 'vcpu', 'devices'), tree, { minKeys: 1 }),
    volumes: fc.array(fc.record({ name: fc.constantFrom('root', 'data'), virtualDisk: fc.string({ minLength: 1 }) })),
    runStrategy: fc.constantFrom('Always', 'Manual'),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<DataObject>;

describe('the spec of a snapshot beside that of now', () => {
  it('names the fields that differ, and not what is no hardware', () => {
    const then = {
      runStrategy: 'Always',
      domain: { memory: { value: 1 }, vcpu: { value: 2 } },
      volumes: [{ name: 'a' }],
    };
    const now = {
      runStrategy: 'Manual',
      domain: { memory: { value: 2 }, vcpu: { value: 2 } },
      volumes: [{ name: 'a' }, { name: 'b' }],
    };
    expect(specDifferences(then, now)).toEqual(['domain.memory.value', 'volumes[1]']);
    expect(specDifferences({ volumes: [] }, {})).toEqual([]);
  });

  it('leaves the machine its identity: one that was recovered names the UUID that its domain has', () => {
    const then = { domain: { memory: { value: 1 }, name: 'old' } };
    const now = { domain: { uuid: 'a-b', memory: { value: 2 } } };
    expect(specDifferences(then, now)).toEqual(['domain.memory.value']);
    expect(patched(now, restoredSpec(then, now))).toEqual({ domain: { uuid: 'a-b', memory: { value: 1 } } });
  });

  it('takes what was not kept, since it is secret, as the same, and keeps it', () => {
    const then = { volumes: [{ name: 'seed', cloudInit: { userData: '(not kept)' } }] };
    const now = { volumes: [{ name: 'other' }, { name: 'seed', cloudInit: { userData: '#cloud-config' } }] };
    expect(restoredSpec(then, now)).toEqual({ volumes: [{ name: 'seed', cloudInit: { userData: '#cloud-config' } }] });
    expect(restoredSpec(then, {})).toBeUndefined();
  });

  it('differs in nothing from itself', () => {
    fc.assert(fc.property(spec, (one) => specDifferences(one, one).length === 0));
  });

  it('makes one of the other, by a merge patch', () => {
    fc.assert(
      fc.property(spec, spec, (then, now) => {
        const patch = restoredSpec(then, now);
        expect(specDifferences(then, patched(now, patch) as DataObject)).toEqual([]);
      }),
    );
  });
});
