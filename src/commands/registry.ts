/**
 * Every command of virtctl by name, in the order and under the headings of `virtctl --help`. A command is one file in
 * this folder: it declares its arguments and options and has one action, which parses, calls and prints. Modules are
 * loaded when their command is called.
 */
import type { CommandSpec } from '../cli/command-spec.ts';

const group = {
  resources: 'Objects:',
  manifests: 'Manifests:',
  lifecycle: 'Lifecycle of machines:',
  cluster: 'Installation and nodes:',
  other: 'Other:',
} as const;

export const commands: readonly CommandSpec[] = [
  { name: 'get', summary: 'list objects', group: group.resources, load: () => import('./get.ts') },
  {
    name: 'describe',
    summary: 'show everything about objects, with their events',
    group: group.resources,
    load: () => import('./describe.ts'),
  },
  { name: 'create', summary: 'create objects', group: group.resources, load: () => import('./create.ts') },
  {
    name: 'apply',
    summary: 'create or change objects as files say',
    group: group.resources,
    load: () => import('./apply.ts'),
  },
  {
    name: 'plan',
    summary: 'say what apply would change: live, at the next restart, or not at all',
    group: group.resources,
    load: () => import('./plan.ts'),
  },
  {
    name: 'diff',
    summary: 'as plan, and end with 1 when something differs',
    group: group.resources,
    load: () => import('./diff.ts'),
  },
  { name: 'edit', summary: 'change an object in the editor', group: group.resources, load: () => import('./edit.ts') },
  { name: 'label', summary: 'set and remove labels', group: group.resources, load: () => import('./label.ts') },
  { name: 'delete', summary: 'delete objects', group: group.resources, load: () => import('./delete.ts') },
  {
    name: 'wait',
    summary: 'wait until something holds of objects',
    group: group.resources,
    load: () => import('./wait.ts'),
  },
  { name: 'events', summary: 'show what happened', group: group.resources, load: () => import('./events.ts') },
  {
    name: 'image',
    summary: 'send files as images, and write images to files',
    group: group.resources,
    load: () => import('./image.ts'),
  },
  {
    name: 'snapshot',
    summary: 'take, list, revert to and delete snapshots of machines',
    group: group.resources,
    load: () => import('./snapshot.ts'),
  },
  {
    name: 'disk',
    summary: 'resize disks, and write them to files',
    group: group.resources,
    load: () => import('./disk.ts'),
  },
  {
    name: 'convert',
    summary: "convert libvirt's XML to YAML or JSON, and back",
    group: group.manifests,
    load: () => import('./convert.ts'),
  },
  {
    name: 'validate',
    summary: 'say everything that is wrong with manifests and XML',
    group: group.manifests,
    load: () => import('./validate.ts'),
  },
  {
    name: 'explain',
    summary: 'show what a field is, with its type and its words',
    group: group.manifests,
    load: () => import('./explain.ts'),
  },
  { name: 'start', summary: 'start machines', group: group.lifecycle, load: () => import('./start.ts') },
  { name: 'stop', summary: 'shut machines down', group: group.lifecycle, load: () => import('./stop.ts') },
  {
    name: 'restart',
    summary: 'shut machines down and start them again',
    group: group.lifecycle,
    load: () => import('./restart.ts'),
  },
  {
    name: 'reset',
    summary: 'press the reset button of machines',
    group: group.lifecycle,
    load: () => import('./reset.ts'),
  },
  {
    name: 'soft-reboot',
    summary: 'ask guests to reboot themselves',
    group: group.lifecycle,
    load: () => import('./soft-reboot.ts'),
  },
  { name: 'pause', summary: 'stop the CPUs of machines', group: group.lifecycle, load: () => import('./pause.ts') },
  {
    name: 'unpause',
    summary: 'let the CPUs of machines run again',
    group: group.lifecycle,
    load: () => import('./unpause.ts'),
  },
  { name: 'save', summary: 'put machines to sleep on disk', group: group.lifecycle, load: () => import('./save.ts') },
  {
    name: 'send-key',
    summary: 'press keys on the keyboard of a machine',
    group: group.lifecycle,
    load: () => import('./send-key.ts'),
  },
  {
    name: 'set-password',
    summary: "set a user's password in the guest",
    group: group.lifecycle,
    load: () => import('./set-password.ts'),
  },
  {
    name: 'inject-nmi',
    summary: 'send machines a non-maskable interrupt',
    group: group.lifecycle,
    load: () => import('./inject-nmi.ts'),
  },
  {
    name: 'set',
    summary: 'change the CPUs, memory and the like of a machine',
    group: group.lifecycle,
    load: () => import('./set.ts'),
  },
  {
    name: 'attach',
    summary: 'attach a disk, an interface or another device to a machine',
    group: group.lifecycle,
    load: () => import('./attach.ts'),
  },
  {
    name: 'detach',
    summary: 'detach a disk, an interface or another device from a machine',
    group: group.lifecycle,
    load: () => import('./detach.ts'),
  },
  {
    name: 'change-media',
    summary: 'change the medium in a CD-ROM or floppy drive',
    group: group.lifecycle,
    load: () => import('./change-media.ts'),
  },
  {
    name: 'console',
    summary: "open a machine's serial console",
    group: group.lifecycle,
    load: () => import('./console.ts'),
  },
  {
    name: 'logs',
    summary: 'print what a guest wrote on its serial console',
    group: group.lifecycle,
    load: () => import('./logs.ts'),
  },
  {
    name: 'why',
    summary: 'say why a machine is not running, and what would mend it',
    group: group.lifecycle,
    load: () => import('./why.ts'),
  },
  {
    name: 'top',
    summary: 'show what machines and nodes use',
    group: group.lifecycle,
    load: () => import('./top.ts'),
  },
  {
    name: 'node',
    summary: 'list nodes, cordon and drain them',
    group: group.cluster,
    load: () => import('./node.ts'),
  },
  {
    name: 'adopt',
    summary: "bring a host's domains under management as they are",
    group: group.cluster,
    load: () => import('./adopt.ts'),
  },
  {
    name: 'recover',
    summary: "make the lost objects of a host's machines again",
    group: group.cluster,
    load: () => import('./recover.ts'),
  },
  {
    name: 'doctor',
    summary: 'check this node and the control plane, and say how to mend what is wrong',
    group: group.cluster,
    load: () => import('./doctor.ts'),
  },
  {
    name: 'executor',
    summary: "run a node's agent: make its libvirt domains what the machines say",
    group: group.cluster,
    load: () => import('./executor.ts'),
  },
  {
    name: 'controller',
    summary: 'watch over all nodes, and check objects at admission',
    group: group.cluster,
    load: () => import('./controller.ts'),
  },
  {
    name: 'standalone',
    summary: 'serve the control plane of one machine from this process',
    group: group.cluster,
    load: () => import('./standalone.ts'),
  },
  {
    name: 'scheduler',
    summary: 'give machines without a node one',
    group: group.cluster,
    load: () => import('./scheduler.ts'),
  },
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
