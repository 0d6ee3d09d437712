#!/usr/bin/env node
/** `weft`: parses the command line, runs one command, turns an expected failure into one clear message and exit status 2. */
import { Command } from 'commander';
import { WeftError } from '../errors/problem.js';

// The processes of a node load nothing that they do not need: the switch is started again in the middle of traffic, and what the agent
// has loaded it keeps.
const commands =
  process.argv[2] === 'switch'
    ? [(await import('./commands/switch.js')).register]
    : process.argv[2] === 'agent'
      ? [(await import('./commands/agent.js')).register]
      : (await import('./commands/index.js')).commands;

const program = new Command('weft')
  .description('Pod networking through a userspace switch, with compiled network policies.')
  .version('0.1.0')
  .showHelpAfterError('(weft --help lists the commands)')
  .showSuggestionAfterError(true)
  .enablePositionalOptions()
  // Commander ends a wrong command line with 1, which means findings here. Subcommands inherit this: it stands before they are made.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));

// A reader that has gone (`weft flows | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(process.exitCode ?? 0);
});

for (const register of commands) register(program);
hintAtHelp(program, 'weft');

try {
  await program.parseAsync(process.argv);
} catch (error) {
  if (!(error instanceof WeftError)) throw error;
  process.stderr.write(`weft: ${error.message}\n`);
  process.exitCode = 2;
}

/** After a wrong command line stands the command whose help tells the right one. */
function hintAtHelp(command: Command, name: string): void {
  for (const child of command.commands) {
    const path = `${name} ${child.name()}`;
    child.showHelpAfterError(
      child.commands.length > 0
        ? `(${path} --help lists the commands)`
        : `(${path} --help tells its arguments)`,
    );
    hintAtHelp(child, path);
  }
}
