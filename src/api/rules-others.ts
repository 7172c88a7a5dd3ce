import type { Hypervisor } from './hypervisor.ts';
import type { Problems } from './problem.ts';
import {
  checkHostPath,
  checkImmutable,
  checkLibvirtName,
  checkOverlay,
  checkReference,
  type RuleInput,
} from './rules.ts';
import type { VirtualMachineSnapshot } from './virtual-machine-snapshot.ts';

/** The members of a snapshot's spec that can be changed after it was taken. */
const changeable: readonly string[] = ['ttlSeconds', 'retainPolicy', 'schedule', 'description'];

/** The rules of a VirtualMachineSnapshot beyond its schema. */
export function checkSnapshot({ object, old, lookup, problems }: RuleInput<VirtualMachineSnapshot>): void {
  const { spec } = object;
  const { name = '', namespace } = object.metadata;
  checkLibvirtName(spec.domainsnapshot?.name ?? name, 'metadata.name', problems);
  for (const [index, disk] of (spec.disks ?? []).entries()) {
    checkHostPath(disk.file, `spec.disks[${index}].file`, problems);
    if (disk.file !== undefined && disk.mode !== undefined && disk.mode !== 'External') {
      problems.add(`spec.disks[${index}].file`, 'Invalid', 'is for the mode External only');
    }
  }
  if (spec.mode === 'Internal' && spec.memory === false && spec.quiesce === 'Required') {
    problems.warn(
      'spec.quiesce',
      'Invalid',
      'libvirt cannot freeze file systems for an internal snapshot of all versions',
    );
  }
  checkSchedule(spec.schedule, problems);
  checkReference(lookup, 'VirtualMachine', namespace, spec.virtualMachine, 'spec.virtualMachine', problems);
  checkOverlay('domainsnapshot', spec.overlay, problems);
  if (old === undefined) return;
  const fixed = [...new Set([...Object.keys(spec), ...Object.keys(old.spec)])].filter(
    (one) => !changeable.includes(one),
  );
  checkImmutable(spec, old.spec, fixed, problems, { strict: true });
  if ((spec.schedule === undefined) !== (old.spec.schedule === undefined)) {
    problems.add('spec.schedule', 'Forbidden', 'a snapshot cannot become a schedule, nor a schedule a snapshot');
  }
}

const macros = ['@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly'];
const cronFields = [
  { name: 'minute', min: 0, max: 59, words: [] },
  { name: 'hour', min: 0, max: 23, words: [] },
  { name: 'day', min: 1, max: 31, words: [] },
  {
    name: 'month',
    min: 1,
    max: 12,
    words: ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'],
  },
  { name: 'weekday', min: 0, max: 7, words: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] },
] as const;

function checkSchedule(schedule: VirtualMachineSnapshot['spec']['schedule'], problems: Problems): void {
  if (schedule === undefined) return;
  const wrong = cronProblem(schedule.cron);
  if (wrong !== undefined) problems.add('spec.schedule.cron', 'Invalid', wrong);
  if (schedule.timeZone !== undefined && !isTimeZone(schedule.timeZone)) {
    problems.add('spec.schedule.timeZone', 'Invalid', `there is no time zone "${schedule.timeZone}"`);
  }
}

/** What is wrong with a crontab expression, or undefined. */
export function cronProblem(text: string): string | undefined {
  if (text.startsWith('@')) return macros.includes(text) ? undefined : `expected one of ${macros.join(', ')}`;
  const parts = text.trim().split(/\s+/);
  if (parts.length !== cronFields.length) return 'expected five fields: minute hour day month weekday';
  for (const [index, field] of cronFields.entries()) {
    for (const item of (parts[index] ?? '').toLowerCase().split(',')) {
      const match = /^(?:\*|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:\/(\d+))?$/.exec(item);
      const numberOf = (word: string): number => {
        const at = (field.words as readonly string[]).indexOf(word);
        return at < 0 ? (/^\d+$/.test(word) ? Number(word) : Number.NaN) : at + field.min;
      };
      const from = match?.[1] === undefined ? field.min : numberOf(match[1]);
      const to = match?.[2] === undefined ? from : numberOf(match[2]);
      const isGood = match !== null && from >= field.min && to <= field.max && from <= to && match[3] !== '0';
      if (!isGood) return `the ${field.name} "${item}" is not between ${field.min} and ${field.max}`;
    }
  }
  return undefined;
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** The rules of a Hypervisor beyond its schema. */
export function checkHypervisor({ object, old, problems }: RuleInput<Hypervisor>): void {
  const seen = new Set<string>();
  // A Hypervisor without a spec is what an executor creates first.
  const spec = object.spec as Hypervisor['spec'] | undefined;
  const specBefore = old?.spec;
  const before = specBefore?.taints ?? [];
  for (const [index, taint] of (spec?.taints ?? []).entries()) {
    const key = `${taint.key}:${taint.effect}`;
    // Told once, not at every change of a node that has it.
    if (taint.effect === 'NoExecute' && !before.some((one) => one.key === taint.key && one.effect === 'NoExecute')) {
      const message = 'keeps new machines away as NoSchedule does; those that are there stay until the node is drained';
      problems.warn(`spec.taints[${index}].effect`, 'NotSupported', message);
    }
    if (seen.has(key)) problems.add(`spec.taints[${index}]`, 'Duplicate', `${key} is there already`);
    seen.add(key);
  }
}
