import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { create } from 'xmlbuilder2';
import { OutputElement, OutputText, writeTree } from '../../src/convertor/output-tree.ts';

interface Tree {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly (Tree | string)[];
}

const name = fc.constantFrom('domain', 'a', 'disk', 'br', 'template', 'x-y.z');
/** Texts with what XML marks up, and some with anything. */
const text = fc.oneof(
  fc.array(fc.constantFrom('<', '>', ']]>', '"', "'", '&amp;', '&#10;', ' ', '\n', '\t', 'é🖥', 'a'), { maxLength: 5 }),
  fc.array(fc.string({ maxLength: 8 }), { maxLength: 1 }),
);
const joined = text.map((parts) => parts.join(''));
const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.record({
    name,
    attributes: fc.dictionary(name, joined, { maxKeys: 3 }),
    children: fc.array(fc.oneof({ depthSize: 'small' }, joined, tie('tree')), { maxLength: 4 }),
  }),
}));

function outputTree({ name, attributes, children }: Tree): OutputElement {
  const element = new OutputElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  for (const child of children) element.append(typeof child === 'string' ? new OutputText(child) : outputTree(child));
  return element;
}

type Chain = ReturnType<typeof create>;

function chain(parent: Chain, { name, attributes, children }: Tree): void {
  const element = parent.ele(name);
  for (const [key, value] of Object.entries(attributes)) element.att(key, value);
  for (const child of children) {
    if (typeof child === 'string') element.txt(child);
    else chain(element, child);
  }
}

describe('a tree', () => {
  it.each([true, false])('is written as xmlbuilder2 writes its own DOM (indented: %j)', (pretty) => {
    fc.assert(
      fc.property(tree, (one) => {
        const document = create();
        chain(document, one);
        expect(writeTree(outputTree(one), pretty)).toBe(document.end({ headless: true, prettyPrint: pretty }));
      }),
      { numRuns: 400 },
    );
  });

  it('has an attribute that is set again in its old place', () => {
    const element = new OutputElement('a');
    for (const [key, value] of ['x1', 'y1', 'x2'].map(([key = '', value = '']) => [key, value] as const)) {
      element.setAttribute(key, value);
    }
    expect(writeTree(element, false)).toBe('<a x="2" y="1"/>');
  });

  it('can be written again, and does not stay in the next one', () => {
    const element = new OutputElement('a');
    expect(writeTree(element, false)).toBe('<a/>');
    element.append(new OutputElement('b'));
    expect([writeTree(new OutputElement('c'), true), writeTree(element, false)]).toEqual(['<c/>', '<a><b/></a>']);
  });
});
