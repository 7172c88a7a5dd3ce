/** An item and those that follow it. */
export interface TreeNode<Item> {
  readonly item: Item;
  readonly children: readonly TreeNode<Item>[];
}

/**
 * Builds trees out of named items and the parent of each; siblings are sorted by name.
 *
 * @param parents At the index of its item; undefined, or an item that is not in the list, makes a root.
 */
export function treeOf<Item extends { readonly name: string }>(
  items: readonly Item[],
  parents: readonly (Item | undefined)[],
): TreeNode<Item>[] {
  const nodes = new Map(items.map((item) => [item.name, { item, children: [] as TreeNode<Item>[] }]));
  const roots: TreeNode<Item>[] = [];
  const ordered = [...items.entries()].sort(([, a], [, b]) => (a.name < b.name ? -1 : 1));
  for (const [index, item] of ordered) {
    const node = nodes.get(item.name);
    if (node !== undefined) (nodes.get(parents[index]?.name ?? '')?.children ?? roots).push(node);
  }
  return roots;
}
