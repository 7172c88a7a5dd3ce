import type { Command } from 'commander';
import { Option } from 'commander';
import { ExitCode } from '../base/exit-code.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addLocalOptions, localUri } from '../cli/local-domain.ts';
import type { LocalFlags } from '../cli/local-domain.ts';
import { ReportedFailure } from '../cli/reported-failure.ts';
import type { Check, Finding } from './doctor/check.ts';

interface DoctorFlags extends LocalFlags {
  readonly only?: 'node' | 'control-plane';
  readonly output?: 'json';
}

const exitCodes = `Exit codes:
  0  no check failed; there may be warnings, which leave machines running
  1  a check failed (FAIL): machines cannot run, or cannot be managed, until it is mended
  2  the command line is wrong`;

/** `virtctl doctor`: looks at this node and at the control plane, and says for each fault how to mend it. */
export function configure(command: Command, context: Context): void {
  command
    .addOption(new Option('--only <part>', 'look at one of the two only').choices(['node', 'control-plane']))
    .addOption(new Option('-o, --output <format>', 'for programs').choices(['json']));
  addLocalOptions(command);
  command.addHelpText('after', `\n${exitCodes}`);
  addExamples(command, [
    ['Everything', 'virtctl doctor'],
    ['A host before it becomes a node', 'virtctl doctor --only node'],
  ]);
  command.action(async (flags: DoctorFlags) => {
    const findings = await examine(context, flags);
    if (flags.output === 'json') context.stdout.write(`${JSON.stringify(findings, undefined, 2)}\n`);
    if (findings.some(({ status }) => status === 'fail')) throw new ReportedFailure(ExitCode.Failed);
  });
}

type NamedFinding = Finding & { readonly part: string; readonly name: string };

async function examine(context: Context, flags: DoctorFlags): Promise<readonly NamedFinding[]> {
  const { runCheck } = await import('./doctor/check.ts');
  const colours = await context.colours();
  const marks = {
    ok: colours.green('ok  '),
    warn: colours.yellow('warn'),
    fail: colours.red('FAIL'),
    skip: colours.dim('skip'),
  };
  const findings: NamedFinding[] = [];
  const runAll = async (part: string, checks: readonly Check[]): Promise<void> => {
    for (const check of checks) {
      const finding = await runCheck(check, context.signal);
      findings.push({ part, name: check.name, ...finding });
      if (flags.output === 'json') continue;
      context.stdout.write(`${marks[finding.status]}  ${check.name}: ${finding.message}\n`);
      if (finding.fix !== undefined) context.stdout.write(`      fix: ${finding.fix}\n`);
    }
  };
  if (flags.only !== 'control-plane') {
    const { nodeChecks } = await import('./doctor/node-checks.ts');
    const { openLibvirt } = await import('../libvirt/libvirt.ts');
    const uri = localUri(context, flags);
    const node = nodeChecks(uri, (signal) => openLibvirt(uri, { signal }));
    try {
      await runAll('node', node.checks);
    } finally {
      await node.close();
    }
  }
  if (flags.only !== 'node') {
    const { controlPlaneChecks } = await import('./doctor/control-plane-checks.ts');
    const plane = controlPlaneChecks(async (onServerTime) => {
      const [{ selectConnection }, { KubeClient }] = await Promise.all([
        import('../kube/connection.ts'),
        import('../kube/kube-client.ts'),
      ]);
      const { env, home, cwd } = context;
      return new KubeClient(await selectConnection({ ...flags, env, home, cwd }), { onServerTime });
    }, context.now);
    try {
      await runAll('control-plane', plane.checks);
    } finally {
      plane.close();
    }
  }
  return findings;
}
