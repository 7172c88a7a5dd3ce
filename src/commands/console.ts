import type { Command } from 'commander';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addLocalOptions, withLocalDomain } from '../cli/local-domain.ts';
import type { LocalFlags } from '../cli/local-domain.ts';
import type { LibvirtStream } from '../libvirt/stream.ts';

interface ConsoleFlags extends LocalFlags {
  readonly device?: string;
  readonly force?: boolean;
}

/** Ctrl-], as in virsh and telnet. */
const escapeByte = 0x1d;

/** `virtctl console`: the guest's serial console, both ways, until Ctrl-] or the guest's end. */
export function configure(command: Command, context: Context): void {
  command
    .argument('<name>', 'the machine')
    .option('--device <alias>', 'which one, as serial0; the first when left out')
    .option('--force', 'take it over from whoever has it open');
  addLocalOptions(command);
  addExamples(command, [
    ['Leave it again with Ctrl-]', 'virtctl console web'],
    ['Type a line from a script', "printf 'uptime\\n' | timeout 5 virtctl console web"],
  ]);
  command.action(async (name: string, flags: ConsoleFlags) => {
    await withLocalDomain(context, name, flags, async (domain) => {
      const stream = await domain.openConsole({
        signal: context.signal,
        ...(flags.device === undefined ? {} : { device: flags.device }),
        ...(flags.force === true ? { force: true } : {}),
      });
      if (context.stderr.isTTY === true) context.stderr.write(`Connected to ${domain.name}. Ctrl-] leaves.\r\n`);
      await converse(context, stream);
    });
  });
}

/** Copies both ways until either side ends, the escape is typed, or the process is told to stop. */
async function converse(context: Context, stream: LibvirtStream): Promise<void> {
  const { stdin } = context;
  const terminal = stdin.isTTY === true && 'setRawMode' in stdin ? (stdin as NodeJS.ReadStream) : undefined;
  const left = new AbortController();
  const leave = (): void => left.abort();
  context.signal.addEventListener('abort', leave, { once: true });
  left.signal.addEventListener('abort', () => stream.abort(), { once: true });
  terminal?.setRawMode(true);
  const typing = type(stdin, stream, left);
  try {
    for await (const data of stream) {
      if (!context.stdout.write(data)) await drained(context.stdout, left.signal);
    }
  } catch (error) {
    // What we ended ourselves is not a failure.
    if (!left.signal.aborted) throw error;
  } finally {
    context.signal.removeEventListener('abort', leave);
    terminal?.setRawMode(false);
    leave();
    stdin.destroy();
    await typing;
    if (terminal !== undefined) context.stderr.write('\r\n');
  }
}

/** Sends what is typed. The end of the input does not end the console: a script still wants to see the answer. */
async function type(stdin: Context['stdin'], stream: LibvirtStream, left: AbortController): Promise<void> {
  try {
    for await (const chunk of stdin) {
      const bytes = Buffer.from(chunk as Uint8Array);
      const escape = bytes.indexOf(escapeByte);
      const typed = escape === -1 ? bytes : bytes.subarray(0, escape);
      if (typed.length > 0) await stream.write(typed);
      if (escape !== -1) {
        left.abort();
        return;
      }
    }
  } catch (error) {
    // The console is over, or the input was closed because it is: the reader of the stream reports the reason.
    if (!left.signal.aborted && stream.isOpen) left.abort(error);
  }
}

async function drained(out: Context['stdout'], signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      out.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    out.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
  });
}
