import type { Command } from 'commander';
import { Option } from 'commander';
import { runStrategies } from '../api/virtual-machine.ts';
import type { RunStrategy } from '../api/virtual-machine.ts';
import { FailedError, UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { parseSeconds } from '../cli/duration.ts';
import { addEditOptions, editMachine } from '../cli/machine-edit.ts';
import type { EditFlags, MutableSpec } from '../cli/machine-edit.ts';
import { addExamples } from '../cli/examples.ts';
import { bytesOfMemory, memoryOfBytes, parseMemorySize } from '../cli/memory-size.ts';
import { parseInteger } from '../cli/resources/parse-integer.ts';

/** The flags of `virtctl set`. */
export interface SetFlags extends EditFlags {
  readonly cpus?: number;
  readonly maxCpus?: number;
  readonly memory?: number;
  readonly maxMemory?: number;
  readonly cpuShares?: number;
  readonly runStrategy?: RunStrategy;
  readonly gracePeriod?: number;
  readonly title?: string;
  readonly description?: string;
}

/** `virtctl set vm NAME --cpus 4`: changes single fields of a machine's spec. */
export function configure(command: Command, context: Context): void {
  command
    .argument('<vm>', 'the word "vm"')
    .argument('<name>', 'the machine')
    .option('--cpus <n>', 'virtual CPUs that it has; the maximum grows with it', parseCount)
    .option('--max-cpus <n>', 'virtual CPUs that it can have without a restart', parseCount)
    .option('--memory <size>', 'memory that it has, as 4Gi; the maximum grows with it', parseMemorySize)
    .option('--max-memory <size>', 'memory that it can have without a restart', parseMemorySize)
    .option('--cpu-shares <n>', 'weight of its CPU time beside other machines, 1024 being usual', parseShares)
    .addOption(new Option('--run-strategy <strategy>', 'when it runs').choices(runStrategies))
    .option('--grace-period <seconds>', 'what its guest has for shutting down', parseSeconds)
    .option('--title <text>', 'its title; empty takes it away')
    .option('--description <text>', 'its description; empty takes it away');
  addEditOptions(command);
  addExamples(command, [
    ['Four CPUs and 8 GiB', 'virtctl set vm web --cpus 4 --memory 8Gi'],
    ['Room for growing later without a restart', 'virtctl set vm web --max-cpus 16 --max-memory 64Gi'],
  ]);
  command.action(async (kind: string, name: string, flags: SetFlags) => {
    if (!['vm', 'vms', 'virtualmachine', 'virtualmachines'].includes(kind.toLowerCase())) {
      throw new UsageError(`"${kind}" has nothing to set; only vm has`);
    }
    const changes = Object.keys(flags).filter((key) => settable.has(key));
    if (changes.length === 0) throw new UsageError('nothing to set; give --cpus, --memory or another field');
    await editMachine(context, name, flags, 'changed', (spec) => applyFlags(spec, flags));
  });
}

const settable: ReadonlySet<string> = new Set([
  'cpus',
  'maxCpus',
  'memory',
  'maxMemory',
  'cpuShares',
  'runStrategy',
  'gracePeriod',
  'title',
  'description',
]);

/** Changes a spec as the flags say; throws FailedError when they contradict each other. */
export function applyFlags(spec: MutableSpec, flags: SetFlags): void {
  const domain = (spec.domain ??= {});
  setCpus(domain, flags.cpus, flags.maxCpus);
  setMemory(domain, flags.memory, flags.maxMemory);
  if (flags.cpuShares !== undefined) domain.cputune = { ...domain.cputune, shares: flags.cpuShares };
  if (flags.runStrategy !== undefined) spec.runStrategy = flags.runStrategy;
  if (flags.gracePeriod !== undefined) spec.terminationGracePeriodSeconds = flags.gracePeriod;
  if (flags.title !== undefined) spec.domain = withText(domain, 'title', flags.title);
  if (flags.description !== undefined) spec.domain = withText(spec.domain ?? {}, 'description', flags.description);
}

type MutableDomain = NonNullable<MutableSpec['domain']>;

/** The domain with a text, or without it when the text is empty. */
function withText(domain: MutableDomain, key: 'title' | 'description', text: string): MutableDomain {
  const { [key]: _former, ...rest } = domain;
  return text === '' ? rest : { ...domain, [key]: text };
}

function setCpus(domain: MutableDomain, cpus: number | undefined, max: number | undefined): void {
  if (cpus === undefined && max === undefined) return;
  const vcpu = (domain.vcpu ??= {});
  const current = cpus ?? vcpu.current ?? vcpu.value ?? 1;
  const maximum = max ?? Math.max(vcpu.value ?? 1, current);
  if (current > maximum) {
    throw new FailedError(`${current} CPUs are more than the maximum of ${maximum}; give --cpus as well`);
  }
  vcpu.value = maximum;
  if (current === maximum) delete vcpu.current;
  else vcpu.current = current;
}

function setMemory(domain: MutableDomain, memory: number | undefined, max: number | undefined): void {
  if (memory === undefined && max === undefined) return;
  const presentMax = bytesOfMemory(domain.memory);
  const current = memory ?? bytesOfMemory(domain.currentMemory) ?? presentMax;
  const maximum = max ?? Math.max(presentMax ?? 0, current ?? 0);
  if (current !== undefined && current > maximum) {
    throw new FailedError('the memory it has is more than the new maximum; give --memory as well');
  }
  domain.memory = { ...domain.memory, ...memoryOfBytes(maximum) };
  if (current === undefined || current === maximum) delete domain.currentMemory;
  else domain.currentMemory = memoryOfBytes(current);
}

/** libvirt counts them in 16 bits (https://libvirt.org/formatdomain.html#cpu-allocation). */
const parseCount = parseInteger('a number of CPUs', 1, 65_535);

const parseShares = parseInteger('a weight', 1, 1_000_000);
