import type { Command } from 'commander';
import { Option } from 'commander';
import { NodeJudge, type JudgeFlags, type Judgement } from './plan/node-judge.ts';
import { objectChanges } from './plan/object-changes.ts';
import type { FieldChange, VirtualMachine } from '../api/virtual-machine.ts';
import { UsageError } from '../base/errors.ts';
import { ExitCode } from '../base/exit-code.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { withKubeClient } from '../cli/kube-options.ts';
import { addLocalOptions } from '../cli/local-domain.ts';
import { ReportedFailure } from '../cli/reported-failure.ts';
import { applyObject } from '../cli/resources/apply-object.ts';
import { printedName } from '../cli/resources/known-resources.ts';
import { readManifests, type Manifest } from '../cli/resources/manifests.ts';
import { alignColumns } from '../cli/resources/print-table.ts';
import { addFilenameOption, forEachReported } from '../cli/resources/resource-options.ts';
import { writeResult } from '../cli/write-result.ts';
import type { PlannedEffect } from '../executor/plan/plan-machine.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { KubeObject } from '../kube/object.ts';

interface PlanFlags extends JudgeFlags {
  readonly filename?: readonly string[];
  readonly output?: 'json';
  readonly forceConflicts?: boolean;
}

/**
 * `object`: only the object changes, not the domain; `unknown`: libvirt was not asked; `drift`: somebody changed it behind
 * our back, and it is left so.
 */
type Effect = PlannedEffect | 'object' | 'unknown' | 'drift';

/** What would become of one object. */
interface ObjectPlan {
  readonly object: string;
  readonly namespace?: string;
  readonly action: 'create' | 'change' | 'none';
  readonly fields: readonly (FieldChange & { readonly effect: Effect })[];
  /** libvirt refuses the definition, with these words. */
  readonly refusal?: string;
  /** What has to be there first. */
  readonly notReady?: string;
  readonly note?: string;
}

const effectWords: Readonly<Record<Effect, string>> = {
  live: 'live',
  restart: 'next restart',
  start: 'next start',
  definition: 'so already',
  ignored: 'ignored by libvirt',
  refused: 'refused by libvirt',
  object: 'at once',
  unknown: 'not judged',
  drift: 'left as it is (driftPolicy: Report)',
};

/** `virtctl plan -f`: what `apply` would bring about, for every field, without changing anything. */
export function configure(command: Command, context: Context): void {
  configurePlan(command, context, [
    ['What a file would change, live and at the next restart', 'virtctl plan -f vm.yaml'],
    ['Stop a script where libvirt would refuse', 'virtctl plan -f machines/ >/dev/null || exit'],
  ]);
  command.action(async (flags: PlanFlags) => {
    const plans = await makePlans(context, flags);
    if (plans.some(({ refusal }) => refusal !== undefined)) throw new ReportedFailure(ExitCode.InvalidInput);
  });
}

/** Declares what `plan` and `diff` share. */
export function configurePlan(
  command: Command,
  context: Context,
  examples: readonly (readonly [string, string])[],
): void {
  addFilenameOption(command, 'what to plan');
  command
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['json']))
    .option('--force-conflicts', 'take over fields that somebody else has set')
    .option('--data-dir <folder>', "the executor's folder on this node", '/var/lib/virtctl/executor');
  addLocalOptions(command);
  addExamples(command, examples);
}

/** Plans and prints what the files say; throws after the last when one failed. */
export async function makePlans(context: Context, flags: PlanFlags): Promise<readonly ObjectPlan[]> {
  const files = flags.filename;
  if (files === undefined) throw new UsageError('expected -f FILE');
  return withKubeClient(context, flags, async (client) => {
    const judge = new NodeJudge(context, client, flags);
    const plans: ObjectPlan[] = [];
    try {
      const { manifests, failed } = await readManifests(context, files, {
        givenNamespace: flags.namespace,
        namespace: client.namespace,
        complete: true,
      });
      const work = async (manifest: Manifest): Promise<void> => {
        const plan = await planObject(client, judge, manifest, flags, context.signal);
        plans.push(plan);
        if (flags.output === undefined) await writePlan(context, plan);
      };
      await forEachReported(context, manifests, work, failed);
    } finally {
      if (flags.output === 'json') await writeResult(context, `${JSON.stringify({ objects: plans }, undefined, 4)}\n`);
      await judge.close();
    }
    return plans;
  });
}

async function planObject(
  client: KubeClient,
  judge: NodeJudge,
  { resource, object, name, namespace }: Manifest,
  flags: PlanFlags,
  signal: AbortSignal,
): Promise<ObjectPlan> {
  if (name === '') throw new UsageError(`a ${resource.kind} without metadata.name cannot be planned`);
  const resources = client.resource<KubeObject>(resource);
  const { before, after } = await applyObject(resources, { namespace, name }, object, {
    dryRun: true,
    force: flags.forceConflicts === true,
    fieldManager: 'virtctl',
    signal,
  });
  const isNew = before === undefined;
  const changes = objectChanges(before, after);
  const plan = { object: printedName(resource, name), ...(namespace === undefined ? {} : { namespace }) };
  const isMachine = resource.kind === 'VirtualMachine' && after.apiVersion === object.apiVersion;
  if (!isMachine) {
    const fields = changes.map((change) => ({ ...change, effect: 'object' as const }));
    return { ...plan, action: isNew ? 'create' : fields.length === 0 ? 'none' : 'change', fields };
  }
  const fields = changes.map((change) => ({ ...change, effect: effectOnObject(change) }));
  const machine = after as VirtualMachine;
  const judgement = await judge.judge(machine);
  const isTold = fields.length === 0 ? driftOf(before as VirtualMachine | undefined) : () => false;
  const ofDomain = judgement.plan?.fields.map((field) =>
    isTold(field) ? { ...field, effect: 'drift' as const } : field,
  );
  const judged = ofDomain === undefined ? fields : [...fields.filter(isOfObject), ...ofDomain];
  const isChanged = judged.some(({ effect }) => effect !== 'drift') || fields.length > 0;
  return { ...plan, action: isNew ? 'create' : isChanged ? 'change' : 'none', fields: judged, ...remarks(judgement) };
}

/** What of the domain the executor only tells of, as long as nobody changes the spec. */
function driftOf(machine: VirtualMachine | undefined): (field: FieldChange) => boolean {
  const { status, metadata } = machine ?? {};
  const isSettled = status?.observedGeneration === metadata?.generation;
  if (machine?.spec.driftPolicy !== 'Report' || !isSettled) return () => false;
  const waiting = new Set(status?.restartRequired?.map(({ path }) => path));
  return ({ path }) => !waiting.has(path);
}

function remarks({ plan, note }: Judgement): Pick<ObjectPlan, 'refusal' | 'notReady' | 'note'> {
  return {
    ...(plan?.refusal === undefined ? {} : { refusal: plan.refusal }),
    ...(plan?.notReady === undefined ? {} : { notReady: plan.notReady }),
    ...(note === undefined ? {} : { note }),
  };
}

/** What the domain is made from is libvirt's to judge. */
function effectOnObject({ path }: FieldChange): 'object' | 'unknown' {
  return /^spec\.(domain|volumes|interfaces|overlay)\b/.test(path) ? 'unknown' : 'object';
}

function isOfObject({ effect }: { readonly effect: Effect }): boolean {
  return effect === 'object';
}

const actionWords = { create: 'would be created', change: 'would be changed', none: 'unchanged' } as const;

async function writePlan(context: Context, plan: ObjectPlan): Promise<void> {
  const { object, action, fields, refusal, notReady, note } = plan;
  const lines = fields.map(({ path, from, to, effect, message }) => [
    `  ${oneLine(path)}`,
    `${cell(from)} → ${cell(to)}`,
    effectWords[effect] + (message === undefined ? '' : `: ${oneLine(message)}`),
  ]);
  const said = [
    ...(refusal === undefined ? [] : [`  refused by libvirt: ${oneLine(refusal)}\n`]),
    ...(notReady === undefined ? [] : [`  waits: ${oneLine(notReady)}\n`]),
    ...(note === undefined ? [] : [`  note: ${oneLine(note)}\n`]),
  ];
  await writeResult(context, `${object} ${actionWords[action]}\n${alignColumns(lines).text}${said.join('')}`);
}

/** What others wrote must not look like another line, nor steer the terminal. */
function oneLine(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is taken out
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}

/** A value as it fits into a table; `-o json` has more of it. */
function cell(value: string | undefined): string {
  const text = oneLine(value ?? 'nothing');
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
