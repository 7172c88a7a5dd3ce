/**
 * The tree that xmlbuilder2 writes: elements and texts with nothing but what its writer reads.
 *
 * A full DOM (xmlbuilder2's own, which its chain builds) keeps parents, live collections, mutation records and an owner
 * for each attribute; nobody asks for these here, and they took most of the time of writing a document. xmlbuilder2
 * wraps nodes that are not its own (`builder(node)`), so that markup, layout and escaping stay with it. Members that
 * begin with `_` are the names under which it looks for them. See docs/adr/0004-a-light-tree-for-writing.md.
 */
import { builder, type create } from 'xmlbuilder2';

/** An attribute of an {@link OutputElement}. */
interface OutputAttribute {
  readonly localName: string;
  value: string;
}

const noAttributes: readonly OutputAttribute[] = [];
const noChildren: readonly (OutputElement | OutputText)[] = [];

/** Text. What looks like a reference (`&lt;`) is written as it stands: the caller escapes `&`. */
export class OutputText {
  readonly nodeType = 3;
  readonly _nodeType = 3;
  readonly data: string;
  nextSibling: OutputElement | OutputText | null = null;

  constructor(data: string) {
    this.data = data;
  }
}

/** An element by its name as written, prefix included. Names are the caller's to check. */
export class OutputElement {
  readonly nodeType = 1;
  readonly _nodeType = 1;
  readonly localName: string;
  /** In the order of their first setting. */
  attributes: readonly OutputAttribute[] = noAttributes;
  _children: readonly (OutputElement | OutputText)[] = noChildren;
  firstChild: OutputElement | OutputText | null = null;
  nextSibling: OutputElement | OutputText | null = null;

  constructor(name: string) {
    this.localName = name;
  }

  hasChildNodes(): boolean {
    return this.firstChild !== null;
  }

  /** Adds a node, which is in no tree yet, at the end. */
  append(node: OutputElement | OutputText): void {
    const last = this._children.at(-1);
    if (last === undefined) {
      this.firstChild = node;
      this._children = [node];
    } else {
      last.nextSibling = node;
      (this._children as (OutputElement | OutputText)[]).push(node);
    }
  }

  /** Sets an attribute, in its old place if it has one. As with text, `&` is the caller's to escape. */
  setAttribute(localName: string, value: string): void {
    if (this.attributes.length === 0) {
      this.attributes = [{ localName, value }];
      return;
    }
    for (const attribute of this.attributes) {
      if (attribute.localName === localName) {
        attribute.value = value;
        return;
      }
    }
    (this.attributes as OutputAttribute[]).push({ localName, value });
  }
}

/** The document around the tree that is being written. One for all: wrapping costs more than writing a small tree. */
const document = {
  nodeType: 9,
  _nodeType: 9,
  _xmlBuilderOptions: {},
  _children: noChildren,
};
const wrapped = builder(document as unknown as ReturnType<typeof create>['node']);

/**
 * The XML of a tree, without a declaration and without a line break at the end.
 * @param pretty one element a line, indented by two spaces; an element that has only text stays on one line
 */
export function writeTree(root: OutputElement, pretty: boolean): string {
  document._children = [root];
  try {
    return wrapped.end({ headless: true, prettyPrint: pretty });
  } finally {
    document._children = noChildren;
  }
}
