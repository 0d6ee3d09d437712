/**
 * `weft tune`: a short bench on the machine at hand. The bench is a program of its own (bench/tune), with contenders and workloads of the
 * suite, and not part of what a node runs; this command starts it and is its name.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Command, Option } from 'commander';
import { packageRoot } from '../../dataplane/package-root.js';
import { WeftError } from '../../errors/problem.js';

const program = fileURLToPath(new URL('../../../bench/tune/run.js', import.meta.url));

interface TuneOptions {
  readonly goal: string;
  readonly config?: string;
  readonly only?: readonly string[];
  readonly rounds: string;
  readonly seconds: string;
  readonly json?: true;
}

export function register(weft: Command): void {
  weft
    .command('tune')
    .description(
      'Try settings of the switch on this machine (about two minutes, best on a quiet one) and print those to choose, and why.',
    )
    .addOption(
      new Option('--goal <goal>', 'what to make better')
        .choices(['balanced', 'throughput', 'latency'])
        .default('balanced'),
    )
    .option('--config <file>', 'configuration that the changes are tried against (default: the defaults)')
    .option('--only <name...>', 'try only these changes')
    .option('--rounds <number>', 'samples of each side', '5')
    .option('--seconds <number>', 'length of a sample', '0.5')
    .option('--json', 'every figure, as JSON')
    .action(run);
}

async function run(options: TuneOptions): Promise<void> {
  if (!existsSync(program))
    throw new WeftError('tune-not-built', `${program} is missing. Build it with \`npm run build\`.`);
  if (!existsSync(`${packageRoot()}/build/bench/weft-traffic`))
    throw new WeftError(
      'tune-not-built',
      'The load generator of the bench suite is not built. Run `npm run build -- bench` in the checkout.',
    );
  const args = ['--goal', options.goal, '--rounds', options.rounds, '--seconds', options.seconds];
  if (options.config !== undefined) args.push('--config', options.config);
  for (const name of options.only ?? []) args.push('--only', name);
  if (options.json) args.push('--json');
  const child = spawn(process.execPath, ['--enable-source-maps', program, ...args], { stdio: 'inherit' });
  // Ctrl-C reaches the child by itself; it puts its pods away and ends.
  const ignore = (): void => {};
  process.on('SIGINT', ignore);
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, pass);
  const [status, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  process.exitCode = status ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}
