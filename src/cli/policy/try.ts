/**
 * `weft policy try`: judges live flows by other policies beside those in force, and says which would change. Nothing is enforced; whatever
 * ends the command ends the trial. Exit status: 0 no flow would be denied, 1 some would, 2 the trial could not be run to its end.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { TrialRequest } from '../../agent/protocol/requests.js';
import { parseDuration } from '../../config/option.js';
import { WeftError } from '../../errors/problem.js';
import { readManifests } from '../../manifests/read.js';
import { validateObjects } from '../../manifests/validate.js';
import { type AgentOptions, exitStatus, untilInterrupted, withAgentOptions, withAgents } from '../connect.js';
import { counted, jsonOption, parsePodName, print, shortDuration } from '../output.js';
import { TrialView } from '../trial-lines.js';
import { refuseInvalid } from './problems.js';

interface TryOptions extends AgentOptions {
  readonly file: readonly string[];
  readonly delete: readonly string[];
  /** Seconds. */
  readonly for: number;
  readonly output: 'table' | 'wide' | 'json';
  readonly json?: true;
}

/** One line of the agent's protocol holds them, with their quotes. */
const mostText = 2 * 1024 * 1024;

export function registerTry(policy: Command): void {
  withAgentOptions(
    policy
      .command('try')
      .description('Judge live flows by other policies, enforcing nothing, and say which would change.')
      .option('-f, --file <path...>', 'policies to put in, or in place of those of the same name', [])
      .option('--delete <policy...>', 'NAMESPACE/NAME of policies to leave out', [])
      .addOption(
        new Option('--for <duration>', 'how long, such as 90s, 10m, 1h')
          .argParser(seconds)
          .default(600, '10m'),
      )
      .addOption(
        new Option('-o, --output <format>', 'table, wide (addresses too) or json (one object a line)')
          .choices(['table', 'wide', 'json'])
          .default('table'),
      )
      .addOption(jsonOption()),
  )
    .addHelpText(
      'after',
      '\nExit status: 0 no flow would be denied, 1 some would, 2 the trial could not be run to its end.\n\nExample:\n  weft policy try -f deny-all.yaml --delete web/allow-all --for 10m',
    )
    .action(async (options: TryOptions) => {
      process.exitCode = await runTrial(options, changesOf(options));
    });
}

function seconds(text: string): number {
  const microseconds = parseDuration(text);
  if (microseconds === null || microseconds < 1_000_000)
    throw new InvalidArgumentError('It has to be a duration of 1s or more, such as 90s, 10m, 1h.');
  return microseconds / 1_000_000;
}

type Changes = Pick<TrialRequest, 'manifests' | 'remove' | 'seconds'>;

/** Throws `input` with places and carets where a file is not fit to be tried. */
function changesOf(options: Pick<TryOptions, 'file' | 'delete' | 'for'>): Changes {
  for (const name of options.delete) parsePodName(name);
  if (options.file.length + options.delete.length === 0)
    throw new WeftError(
      'usage',
      'Name policies to try with -f FILE, or to leave out with --delete NAMESPACE/NAME.',
    );
  const read = readManifests(options.file);
  refuseInvalid([...read.problems, ...validateObjects(read.written)], read.texts);
  const others = read.written.filter(({ value }) => value.kind !== 'NetworkPolicy').length;
  if (options.file.length > 0 && read.model.policies.length === 0 && options.delete.length === 0)
    throw new WeftError('input', `There is no NetworkPolicy in ${options.file.join(', ')}.`);
  if (others > 0)
    process.stderr.write(`(${counted(others, 'object')} of other kinds: only NetworkPolicies are tried)\n`);
  const manifests = [...read.texts].map(([file, text]) => ({ file, text }));
  const size = Buffer.byteLength(JSON.stringify(manifests));
  if (size > mostText)
    throw new WeftError(
      'input',
      `The policies have ${size} bytes; at most ${mostText} can be tried at a time.`,
    );
  return { manifests, remove: options.delete, seconds: options.for };
}

async function runTrial(options: TryOptions, changes: Changes): Promise<0 | 1 | 2> {
  const format = options.json === true ? 'json' : options.output;
  const view = new TrialView(format, print);
  process.stderr.write(
    `Trying for ${shortDuration(changes.seconds)}; nothing is enforced. Ctrl-C ends it with what was seen.\n`,
  );
  const all = await withAgents(options, async (agent, node) => {
    try {
      const whole = await untilInterrupted(agent, () =>
        agent.subscribe({ type: 'trial', ...changes }, (event) => {
          if (event.event === 'trial') view.take(node, event.rows, event.totals);
          else if (event.event === 'trial-over')
            view.over(node, {
              reason: event.reason,
              ...(event.message === undefined ? {} : { message: event.message }),
            });
        }),
      );
      if (!whole) view.over(node, { reason: 'asked' });
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== 'agent-away' || !view.began(node)) throw error;
      const message = `The agent has gone, and the trial with it. ${error.message}`;
      view.over(node, { reason: 'failed', message });
    }
  });
  const status = report(view, format);
  return exitStatus(all, 0) === 2 ? 2 : status;
}

function report(view: TrialView, format: TryOptions['output']): 0 | 1 | 2 {
  if (format !== 'json') print(view.summary());
  for (const failure of view.failures) process.stderr.write(`weft: ${failure}\n`);
  return view.failures.length > 0 ? 2 : view.denied > 0 ? 1 : 0;
}
