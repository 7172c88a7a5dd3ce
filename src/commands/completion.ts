import type { Command } from 'commander';
import { Argument } from 'commander';
import { commands } from './registry.ts';
import { version } from '../base/version.ts';
import { commandTree } from '../cli/command-tree.ts';
import type { Shell } from '../cli/completion-script.ts';
import { completionScript, shells } from '../cli/completion-script.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { buildProgram } from '../cli/program.ts';

/** `virtctl completion SHELL`: prints a script that completes virtctl's commands and flags. */
export function configure(command: Command, context: Context): void {
  command.addArgument(new Argument('<shell>', 'the shell that the script is for').choices(shells));
  addExamples(command, [
    ['In this bash only', 'source <(virtctl completion bash)'],
    ['In every bash of this user', 'virtctl completion bash > ~/.local/share/bash-completion/completions/virtctl'],
    ['In zsh, from a folder of $fpath', 'virtctl completion zsh > "${fpath[1]}/_virtctl"'],
    ['In every fish of this user', 'virtctl completion fish > ~/.config/fish/completions/virtctl.fish'],
  ]);
  command.action(async (shell: Shell) => {
    const program = await buildProgram(undefined, context, { version, commands });
    context.stdout.write(completionScript(shell, commandTree(program)));
  });
}
