/** An item and those that follow it. */
export interface TreeNode<Item> {
  readonly item: Item;
  readonly children: readonly TreeNode<Item>[];
}

/**
 * Builds trees out of named items and the parent of each.
 *
 * @param parents At the index of its item; undefined, or an item that is not in the list, makes a root.
 */
export function treeOf<Item extends { readonly name: string }>(
  items: readonly Item[],
  parents: readonly (Item | undefined)[],
): TreeNode<Item>[] {
  const nodes = new Map(items.map((item) => [item.name, { item, children: [] as TreeNode<Item>[] }]));
  const roots: TreeNode<Item>[] = [];
  for (const [index, item] of items.entries()) {
    const node = nodes.get(item.name);
    if (node !== undefined) (nodes.get(parents[index]?.name ?? '')?.children ?? roots).push(node);
  }
  return roots;
}
