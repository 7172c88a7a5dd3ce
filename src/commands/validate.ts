import type { Command } from 'commander';
import type { Context } from '../cli/context.ts';
import { requireDocumentKind } from '../cli/convert/libvirt-kinds.ts';
import { addExamples } from '../cli/examples.ts';
import { visitInputs } from '../cli/input/visit-inputs.ts';
import { exitCodeOf, ReportedFailure } from '../cli/reported-failure.ts';
import { SeenObjects } from '../cli/seen-objects.ts';
import { validateInput } from '../cli/validate-input.ts';
import { writeResult } from '../cli/write-result.ts';
import { documentKinds } from '../model/document-kind.ts';

interface Flags {
  readonly kind?: string;
  readonly quiet?: true;
  readonly verbose?: true;
}

/** `virtctl validate`: says everything that is wrong with files. Asks no server. */
export function configure(command: Command, context: Context): void {
  command
    .description(
      "Check YAML, JSON and libvirt's XML against the whole schema and print every problem with its file, line, column " +
        'and path. Ends with 8 when anything is wrong.',
    )
    .argument('[input...]', 'files, folders (their .xml, .yaml, .yml and .json files), - for standard input')
    .option('--kind <kind>', `what a bare document is, when its keys do not tell: ${documentKinds.join(', ')}`)
    .option('-q, --quiet', 'print nothing about what is valid');
  addExamples(command, [
    ['A manifest before it is applied', 'virtctl validate web.yaml'],
    ["A folder of libvirt's XML", 'virtctl validate --quiet /etc/libvirt/qemu'],
  ]);
  command.action(async (args: readonly string[], _options: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>();
    const kind = flags.kind === undefined ? undefined : requireDocumentKind(flags.kind);
    const seen = new SeenObjects();
    const errors = await visitInputs(context, args, flags.verbose === true, {
      document: async (document) => {
        const { name, warnings, foreign } = validateInput(document, kind, seen);
        for (const warning of warnings) context.stderr.write(`warning: ${warning}\n`);
        if (foreign) context.stderr.write(`warning: ${document.file}: ${name}: not checked, not a kind of virtctl\n`);
        else if (flags.quiet !== true) await writeResult(context, `${document.file}: ${name}: valid\n`);
      },
    });
    if (errors.length > 0) throw new ReportedFailure(exitCodeOf(errors));
  });
}
