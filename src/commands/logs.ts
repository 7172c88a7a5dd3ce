import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { NotFoundError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { followFile } from '../cli/follow-file.ts';
import { addLocalOptions, serialLogPath, withLocalDomain } from '../cli/local-domain.ts';
import type { LocalFlags } from '../cli/local-domain.ts';

interface LogsFlags extends LocalFlags {
  readonly follow?: boolean;
  readonly tail?: number;
  readonly qemu?: boolean;
}

/** `virtctl logs`: what the guest wrote on its serial console, from the file that libvirt keeps (`<log file=…>`). */
export function configure(command: Command, context: Context): void {
  command
    .argument('<name>', 'the machine')
    .option('-f, --follow', 'go on with what is added')
    .option('--tail <lines>', 'only this many lines from the end', parseLines)
    .option('--qemu', "QEMU's own log instead");
  addLocalOptions(command);
  addExamples(command, [
    ['What the guest said', 'virtctl logs web'],
    ['Follow it', 'virtctl logs web -f --tail 10'],
    ['Why QEMU did not start', 'virtctl logs web --qemu --tail 20'],
  ]);
  command.action(async (name: string, flags: LogsFlags) => {
    const path = await withLocalDomain(context, name, flags, async (domain) => {
      if (flags.qemu === true) return `/var/log/libvirt/qemu/${domain.name}.log`;
      const file = await serialLogPath(domain, context.signal);
      if (file !== undefined) return file;
      throw new NotFoundError(`machine "${name}" keeps no log of its serial console`, {
        hint: 'add log: {file: …} to an entry of spec.domain.devices.serial, or look at virtctl console',
      });
    });
    const options = { follow: flags.follow === true, signal: context.signal };
    try {
      for await (const data of followFile(path, { ...options, tail: flags.tail })) context.stdout.write(data);
    } catch (error) {
      if (context.signal.aborted) return;
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw new NotFoundError(`there is no log of "${name}" yet: ${path}`, { cause: error });
    }
  });
}

function parseLines(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError(`"${text}" is not a number of lines.`);
  return Number(text);
}
