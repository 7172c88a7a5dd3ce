import type { Command } from 'commander';
import { Option } from 'commander';
import { formatProblem, UsageError } from '../base/errors.ts';
import { ExitCode } from '../base/exit-code.ts';
import type { Context } from '../cli/context.ts';
import { checkDocument } from '../cli/convert/check-document.ts';
import type { Converted, ConvertOptions, Format } from '../cli/convert/convert-document.ts';
import { convertDocument, formats } from '../cli/convert/convert-document.ts';
import { requireDocumentKind } from '../cli/convert/libvirt-kinds.ts';
import { OutputFolder } from '../cli/convert/output-folder.ts';
import { PrintedDocuments } from '../cli/convert/printed-documents.ts';
import { addExamples } from '../cli/examples.ts';
import { visitInputs } from '../cli/input/visit-inputs.ts';
import { exitCodeOf, ReportedFailure } from '../cli/reported-failure.ts';
import { writeResult } from '../cli/write-result.ts';
import type { DocumentKind } from '../model/document-kind.ts';
import { documentKinds } from '../model/document-kind.ts';

interface Flags {
  readonly output?: Format;
  readonly outputDir?: string;
  readonly bare?: true;
  readonly check?: true;
  readonly kind?: string;
  readonly verbose?: true;
}

/** `virtctl convert`: libvirt's XML as YAML or JSON, and back. Asks no server. */
export function configure(command: Command, context: Context): void {
  command
    .description(
      "Convert libvirt's XML to YAML or JSON, and back. The content decides what a file is. Without -o XML becomes YAML, " +
        'and YAML and JSON become XML. A file that cannot be converted does not stop the others.',
    )
    .argument('[input...]', 'files, folders (their .xml, .yaml, .yml and .json files), - for standard input')
    .addOption(new Option('-o, --output <format>', 'the format to write').choices(formats))
    .option('--output-dir <dir>', 'write a file for each input into this folder instead of printing')
    .option('--bare', 'only the libvirt document, without the object of virtctl around it')
    .option('--check', 'convert there and back instead and print every difference by path')
    .option('--kind <kind>', `what a bare document is, when its keys do not tell: ${documentKinds.join(', ')}`);
  addExamples(command, [
    ['A domain of this host as a VirtualMachine', 'virsh dumpxml web | virtctl convert - > web.yaml'],
    ['And back', 'virtctl convert web.yaml > web.xml'],
    ['All machines of a host', 'virtctl convert /etc/libvirt/qemu --output-dir machines'],
    ['Prove that nothing gets lost', 'virtctl convert --check /etc/libvirt/qemu'],
  ]);
  command.action(async (args: readonly string[], _options: unknown, self: Command) => {
    await convert(args, self.optsWithGlobals<Flags>(), context);
  });
}

async function convert(args: readonly string[], flags: Flags, context: Context): Promise<void> {
  if (flags.check === true && (flags.output !== undefined || flags.outputDir !== undefined)) {
    throw new UsageError('--check writes nothing: it takes neither --output nor --output-dir');
  }
  const kind = flags.kind === undefined ? undefined : requireDocumentKind(flags.kind);
  if (flags.check === true) await check(args, flags, kind, context);
  else await write(args, flags, { format: flags.output, bare: flags.bare === true, kind }, context);
}

/** Converts and prints or writes; of an input with a bad document nothing is written. */
async function write(args: readonly string[], flags: Flags, options: ConvertOptions, context: Context): Promise<void> {
  const printed = new PrintedDocuments(context);
  let folder: OutputFolder | undefined;
  let results: Converted[] = [];
  const errors = await visitInputs(context, args, flags.verbose === true, {
    except: flags.outputDir,
    begin: (inputs) => {
      if (flags.outputDir === undefined) return;
      folder = new OutputFolder(
        context.cwd,
        flags.outputDir,
        inputs.flatMap(({ path }) => path ?? []),
      );
    },
    document: (document) => void results.push(convertDocument(document, options)),
    abandon: () => void (results = []),
    complete: async (input) => {
      const done = results;
      results = [];
      for (const warning of done.flatMap(({ warnings }) => warnings)) context.stderr.write(`warning: ${warning}\n`);
      if (folder === undefined) for (const result of done) await printed.add(result);
      else folder.writeAll(input, done);
    },
  });
  await printed.end();
  if (errors.length > 0) throw new ReportedFailure(exitCodeOf(errors));
}

/** Converts there and back and prints what is different. */
async function check(
  args: readonly string[],
  flags: Flags,
  kind: DocumentKind | undefined,
  context: Context,
): Promise<void> {
  let documents = 0;
  let different = 0;
  let lines = '';
  const print = async (): Promise<void> => {
    const text = lines;
    lines = '';
    if (text !== '') await writeResult(context, text);
  };
  const errors = await visitInputs(context, args, flags.verbose === true, {
    document: (document) => {
      documents += 1;
      const differences = checkDocument(document, flags.bare === true, kind);
      if (differences.length > 0) different += 1;
      for (const { path, message } of differences)
        lines += `${formatProblem({ file: document.file, path, message })}\n`;
    },
    complete: print,
  });
  await print();
  const result = different === 0 ? 'no differences' : `${different} with differences`;
  context.stderr.write(`${documents} documents there and back: ${result}\n`);
  if (errors.length > 0) throw new ReportedFailure(exitCodeOf(errors));
  if (different > 0) throw new ReportedFailure(ExitCode.InvalidInput);
}
