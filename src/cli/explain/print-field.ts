import type { FieldNode } from './field-node.ts';
import type { FoundField } from './find-field.ts';

/** No line is longer, where it can be broken. */
const width = 100;

/** A field in words, in the manner of `kubectl explain`, with libvirt's page. */
export function printField({ kind, apiVersion, path, node }: FoundField, recursive: boolean): string {
  const out: string[] = [`KIND:     ${kind}`];
  if (apiVersion !== undefined) out.push(`VERSION:  ${apiVersion}`);
  if (path.length > 0) out.push('', `FIELD:    ${path.join('.')} <${node.type}>`);
  out.push('', 'DESCRIPTION:', ...wrap(node.description, '  '));
  const facts = factsOf(node, path.length > 0);
  if (facts.length > 0) out.push('', ...facts);
  if (node.link !== undefined) out.push('', `LIBVIRT:  ${node.link}`);
  const children = node.children();
  if (children.size > 0) {
    out.push('', 'FIELDS:');
    if (recursive) printTree(out, node, '  ', [node.id]);
    else for (const [key, child] of children) printChild(out, key, child);
  }
  return `${out.join('\n')}\n`;
}

function factsOf(node: FieldNode, isField: boolean): string[] {
  const facts: string[] = [];
  if (isField) facts.push(`LIST:     ${node.list ? 'yes, one entry or many' : 'no'}`);
  if (isField && node.required) facts.push('REQUIRED: yes');
  if (node.enum !== undefined) facts.push(...wrap(`ENUM:     ${node.enum.join(', ')}`, '', '          '));
  if (node.default !== undefined) facts.push(`DEFAULT:  ${node.default}`);
  if (node.min !== undefined || node.max !== undefined) facts.push(`RANGE:    ${node.min ?? ''}..${node.max ?? ''}`);
  if (node.pattern !== undefined) facts.push(`PATTERN:  ${node.pattern}`);
  return facts;
}

function printChild(out: string[], key: string, node: FieldNode): void {
  out.push(`  ${key} <${node.type}>${node.required ? ' -required-' : ''}`);
  if (node.enum !== undefined) out.push(...wrap(`one of ${node.enum.join(', ')}`, '    '));
  out.push(...wrap(node.description, '    '));
}

/** A field inside a field of its own kind (a backing store's backing store) is named and not opened again. */
function printTree(out: string[], node: FieldNode, indent: string, above: readonly (string | undefined)[]): void {
  for (const [key, child] of node.children()) {
    const again = child.id !== undefined && above.includes(child.id);
    out.push(`${indent}${key} <${child.type}>${again ? ' ...' : ''}`);
    if (!again) printTree(out, child, `${indent}  `, [...above, child.id]);
  }
}

function wrap(text: string, indent: string, next = indent): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(' ')) {
    const empty = line === indent || line === next;
    if (!empty && line.length + 1 + word.length > width) {
      lines.push(line);
      line = `${next}${word}`;
    } else {
      line += empty ? word : ` ${word}`;
    }
  }
  return [...lines, line];
}
