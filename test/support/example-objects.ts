import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse } from 'yaml';
import type { KubeObject } from '../../src/api/meta.ts';

/** The examples of docs/kinds.md, in its order: the reader's copy and the tests' are the same. */
export const examples: readonly KubeObject[] = [
  ...readFileSync(resolve(import.meta.dirname, '../../docs/kinds.md'), 'utf8').matchAll(/```yaml\n([^]*?)```/g),
].map((match) => parse(match[1] ?? '', { version: '1.1' }) as KubeObject);
