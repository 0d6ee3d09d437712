/**
 * `weft tune`: tries changes of the switch's configuration on this machine and prints the settings it would choose, and why.
 *
 * One change at a time against the present settings; then all that were chosen together against the present ones, since two changes that
 * help alone may not help together. Nothing is written, and a weft that runs on this machine is left alone (stop it first: a busy
 * machine measures its own noise).
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.js';
import { busyShare } from '../machine.js';
import { Progress } from '../progress.js';
import {
  type Candidate,
  candidatesFor,
  exclude,
  merged,
  type SwitchOptions,
  switchOptionsOf,
} from './candidate.js';
import { type Decision, decide, type Effect, type Goal, goals, nameOf } from './decide.js';
import { type Pace, type Trial, trial } from './trial.js';

const usage = `usage: weft tune [--goal balanced|throughput|latency] [--config FILE] [--only NAME]... [--rounds N] [--seconds S] [--json]
`;
const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

interface Request {
  readonly goal: Goal;
  readonly present: SwitchOptions;
  readonly candidates: readonly Candidate[];
  readonly pace: Pace;
  readonly json: boolean;
}

interface Tried {
  readonly candidate: Candidate;
  readonly trial: Trial;
  readonly decision: Decision;
}

class UsageError extends Error {}

async function requestOf(argv: readonly string[]): Promise<Request> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      goal: { type: 'string', default: 'balanced' },
      config: { type: 'string' },
      only: { type: 'string', multiple: true },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '0.5' },
      json: { type: 'boolean', default: false },
    },
  });
  const goal = goals.find((name) => name === values.goal);
  if (goal === undefined) throw new UsageError(`--goal '${values.goal}' is none of ${goals.join(', ')}`);
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 3 || rounds > 100)
    throw new UsageError(`--rounds '${values.rounds}' is not a whole number from 3 to 100`);
  const seconds = Number(values.seconds);
  if (!(seconds >= 0.1 && seconds <= 60))
    throw new UsageError(`--seconds '${values.seconds}' is not a number from 0.1 to 60`);
  const all = candidatesFor(availableParallelism());
  for (const name of values.only ?? [])
    if (!all.some((candidate) => candidate.name === name))
      throw new UsageError(`--only '${name}' is none of ${all.map((other) => other.name).join(', ')}`);
  if (values.config !== undefined) await loadConfig(values.config);
  return {
    goal,
    present: values.config === undefined ? {} : switchOptionsOf(readFileSync(values.config, 'utf8')),
    candidates: all.filter(({ name }) => values.only?.includes(name) ?? true),
    pace: { rounds, seconds },
    json: values.json,
  };
}

/** What was chosen, strongest first; of changes that exclude each other the one with the greater effect stays. */
function together(chosen: readonly Tried[]): readonly Tried[] {
  const strength = ({ trial }: Tried) =>
    Math.max(
      ...trial.effects.map(({ aspect, ratio }) =>
        aspect.better === 'higher' ? Math.log(ratio.value) : -Math.log(ratio.value),
      ),
    );
  const kept: Tried[] = [];
  for (const tried of [...chosen].sort((a, b) => strength(b) - strength(a)))
    if (!kept.some((other) => exclude(other.candidate, tried.candidate))) kept.push(tried);
  return kept;
}

function effectText({ aspect, ratio }: Effect): string {
  return `${nameOf(aspect)} × ${ratio.value.toFixed(2)} (${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)})`;
}

async function tune(request: Request): Promise<number> {
  const { goal, present, candidates, pace, json } = request;
  const ending = new AbortController();
  let interrupted = 0;
  for (const name of Object.keys(signals) as (keyof typeof signals)[])
    process.on(name, () => {
      if (interrupted !== 0) process.exit(signals[name]);
      interrupted = signals[name];
      ending.abort();
    });
  const each = 5 + 2 * 4 * (pace.rounds * (pace.seconds + 0.4) + 0.7);
  const progress = new Progress(process.stderr, each * (candidates.length + 1), () => performance.now());
  const busy = await busyShare(1000);
  if (busy > 15) progress.note(`this machine is not quiet: ${busy.toFixed(0)} % of a core is in use`);
  const tried: Tried[] = [];
  const attempt = async (candidate: Candidate): Promise<Tried> => {
    progress.note(`${candidate.name}: ${candidate.trade}`);
    const result = await trial(present, merged(present, candidate.options), pace, progress, ending.signal);
    return { candidate, trial: result, decision: decide(result.effects, goal) };
  };
  for (const candidate of candidates) {
    if (interrupted !== 0) return interrupted;
    tried.push(await attempt(candidate));
  }
  let chosen = together(tried.filter(({ decision }) => decision.chosen));
  let settings = chosen.reduce<SwitchOptions>((all, { candidate }) => merged(all, candidate.options), {});
  let combination: Tried | null = null;
  if (chosen.length > 1 && interrupted === 0) {
    const name = chosen.map(({ candidate }) => candidate.name).join(' + ');
    combination = await attempt({ name, options: settings, trade: 'all that were chosen, together' });
    if (!combination.decision.chosen) {
      chosen = chosen.slice(0, 1);
      settings = chosen[0]?.candidate.options ?? {};
    }
  }
  progress.end();
  if (interrupted !== 0) return interrupted;
  const all = combination === null ? tried : [...tried, combination];
  const problems = all.flatMap(({ candidate, trial }) =>
    trial.problems.map((text) => `${candidate.name}: ${text}`),
  );
  if (json) {
    const trials = all.map(({ candidate, trial, decision }) => ({ ...candidate, ...trial, ...decision }));
    process.stdout.write(`${JSON.stringify({ goal, settings: { switch: settings }, trials }, null, 2)}\n`);
  } else process.stdout.write(report(goal, all, settings, problems));
  return problems.length > 0 ? 1 : 0;
}

function report(
  goal: Goal,
  all: readonly Tried[],
  settings: SwitchOptions,
  problems: readonly string[],
): string {
  const lines = [`Tried on this machine, for the goal ${goal}; changed over present:`, ''];
  for (const { candidate, trial, decision } of all) {
    lines.push(`${decision.chosen ? '+' : '-'} ${candidate.name}: ${decision.why}`);
    for (const effect of trial.effects) lines.push(`    ${effectText(effect)}`);
  }
  for (const problem of problems) lines.push(`! not measured: ${problem}`);
  lines.push('');
  if (Object.keys(settings).length === 0) lines.push('The present settings are the best that was found.');
  else
    lines.push(
      'Put this into the configuration and restart the switch:',
      '',
      stringify({ switch: settings }).trimEnd(),
    );
  return `${lines.join('\n')}\n`;
}

try {
  process.exit(await tune(await requestOf(process.argv.slice(2))));
} catch (error) {
  const { code, message } = error as Error & { code?: string };
  const wrong = error instanceof UsageError || code?.startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`weft tune: ${message}\n${wrong ? usage : ''}`);
  process.exit(wrong || code?.startsWith('config') ? 2 : 1);
}
