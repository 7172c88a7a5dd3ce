import { listInputs } from './list-inputs.ts';
import type { Input } from './list-inputs.ts';
import type { InputDocument } from './read-documents.ts';
import { readDocuments } from './read-documents.ts';
import { readInput } from './read-input.ts';
import type { Context } from '../context.ts';
import type { Progress } from '../progress.ts';
import { startProgress } from '../progress.ts';
import { reportError } from '../report-error.ts';
import { InvalidInputError, UsageError } from '../../base/errors.ts';

/** What is done with inputs. Whatever it throws is reported, and the next document or input follows. */
export interface InputVisitor {
  /** A folder that is passed over inside of others: the one that results go to. */
  readonly except?: string | undefined;
  /** Before the first: all inputs there are. */
  readonly begin?: (inputs: readonly Input[]) => void;
  /** A document that could be read. */
  readonly document: (document: InputDocument) => void | Promise<void>;
  /** After the last document of an input, unless one of them failed. */
  readonly complete?: (input: Input) => void | Promise<void>;
  /** After an input of which a document failed. */
  readonly abandon?: (input: Input) => void;
}

/**
 * Reads the documents of files, folders and standard input one by one, with a progress line on a terminal. An error is
 * printed on stderr at once and does not stop the others.
 *
 * @param args What the user named.
 * @returns Every error that was reported, for the exit code.
 * @throws UsageError when nothing is named; the signal's reason when interrupted.
 */
export async function visitInputs(
  context: Context,
  args: readonly string[],
  verbose: boolean,
  visitor: InputVisitor,
): Promise<unknown[]> {
  if (args.length === 0) throw new UsageError('no input', { hint: 'name files, folders, or - for standard input' });
  const { inputs, errors } = listInputs(args, context.cwd, visitor.except);
  const reported: unknown[] = [];
  const fail = (error: unknown): void => {
    reported.push(error);
    context.stderr.write(reportError(error, verbose).text);
  };
  for (const error of errors) fail(error);
  visitor.begin?.(inputs);
  const progress = await startProgress(context, inputs.length);
  try {
    for (const [index, input] of inputs.entries()) {
      progress.update(`${index + 1}/${inputs.length} ${input.name}`);
      await visitInput(context, input, visitor, progress, fail);
      // Reading is synchronous and quick; signals and the terminal get their turn.
      if (index % 16 === 15) await new Promise((resolve) => setImmediate(resolve));
      context.signal.throwIfAborted();
    }
  } finally {
    progress.stop();
  }
  return reported;
}

async function visitInput(
  context: Context,
  input: Input,
  visitor: InputVisitor,
  progress: Progress,
  fail: (error: unknown) => void,
): Promise<void> {
  const state = { failed: false };
  const guarded = async (work: () => void | Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      context.signal.throwIfAborted();
      state.failed = true;
      progress.clear();
      fail(error);
    }
  };
  await guarded(async () => {
    const text = await readInput(input, context);
    for (const document of readDocuments(input.name, text)) {
      await guarded(() => {
        if (document instanceof InvalidInputError) throw document;
        return visitor.document(document);
      });
    }
  });
  if (state.failed) visitor.abandon?.(input);
  else {
    progress.clear();
    await guarded(() => visitor.complete?.(input));
  }
}
