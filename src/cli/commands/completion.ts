/** `weft completion SHELL`: a completion script, made from the commands themselves, so that it cannot fall behind them. */
import { Argument, type Command } from 'commander';
import { completionScript, type Shell, shells } from '../completion-script.js';
import { print } from '../output.js';

export function register(program: Command): void {
  program
    .command('completion')
    .description('Print a completion script.')
    .addArgument(new Argument('<shell>', 'for which shell').choices(shells))
    .addHelpText(
      'after',
      `
bash:  weft completion bash > /etc/bash_completion.d/weft
zsh:   weft completion zsh > "\${fpath[1]}/_weft"
fish:  weft completion fish > ~/.config/fish/completions/weft.fish
`,
    )
    .action((shell: Shell) => print(completionScript(program, shell)));
}
