/**
 * Every command of virtctl by name, in the order and under the headings of `virtctl --help`. A command is one file in
 * this folder: it declares its arguments and options and has one action, which parses, calls and prints. Modules are
 * loaded when their command is called.
 */
import type { CommandSpec } from '../cli/command-spec.ts';

const group = {
  cluster: 'Installation and nodes:',
  other: 'Other:',
} as const;

export const commands: readonly CommandSpec[] = [
  {
    name: 'crd',
    summary: 'print the CustomResourceDefinitions of the kinds',
    group: group.cluster,
    load: () => import('./crd.ts'),
  },
  {
    name: 'completion',
    summary: 'print a script that completes commands and flags in a shell',
    group: group.other,
    load: () => import('./completion.ts'),
  },
  {
    name: 'version',
    summary: 'print the version',
    group: group.other,
    load: () => import('./version.ts'),
  },
];
