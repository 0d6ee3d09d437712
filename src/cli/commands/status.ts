/** `weft status`: whether this node enforces what its sources say, and what is wrong if not. */
import type { Command } from 'commander';
import type { LimitUse, StatusAnswer } from '../../agent/protocol/answers.js';
import { formatSource } from '../../errors/problem.js';
import type { WatchState } from '../../model/source.js';
import { type AgentOptions, exitStatus, withAgentOptions, withAgents } from '../connect.js';
import {
  type Chosen,
  formatFacts,
  formatOf,
  formatOption,
  formatTable,
  jsonOption,
  print,
  printData,
  shortDuration,
  shortNumber,
} from '../output.js';

export function register(program: Command): void {
  withAgentOptions(
    program
      .command('status')
      .description(
        'Say whether agent and switch of this node enforce the latest policies; exit status 1 if not.',
      )
      .addOption(formatOption('more facts'))
      .addOption(jsonOption()),
  ).action(async (options: AgentOptions & Chosen) => {
    const all = await withAgents(options, (agent) => agent.request('status'));
    const statuses = all.answers.map(({ value: { type: _type, id: _id, ...status } }) => status);
    const one = all.answers[0]?.node === '';
    const format = formatOf(options);
    if (format === 'json' || format === 'yaml') printData(format, one ? statuses[0] : statuses);
    else if (one || format === 'wide')
      print(statuses.map((status) => formatStatus(status, format === 'wide')).join('\n\n'));
    else print(formatNodes(statuses));
    process.exitCode = exitStatus(all, statuses.every(({ ready }) => ready) ? 0 : 1);
  });
}

type Status = Omit<StatusAnswer, 'type' | 'id'>;

/** From this share of a limit on it is shown among the facts, also without `-o wide`. */
const nearlyFull = 0.8;

/** A line for each node; its problems below. Exported for its test. */
function formatNodes(statuses: readonly Status[]): string {
  const table = formatTable(statuses, [
    { title: 'NODE', value: ({ node }) => node },
    { title: 'READY', value: ({ ready }) => (ready ? 'yes' : 'no') },
    { title: 'VERSION', value: ({ version }) => version },
    { title: 'UP', value: ({ uptimeSeconds }) => shortDuration(uptimeSeconds) },
    { title: 'SWITCH', value: (status) => (status.switchConnected ? 'connected' : 'away') },
    {
      title: 'REVISION',
      value: ({ revision, acknowledged }) =>
        revision === acknowledged ? `${revision}` : `${acknowledged} of ${revision}`,
    },
    { title: 'PODS HERE', value: ({ counts }) => counts.localPods },
    { title: 'POLICIES', value: ({ counts }) => counts.policies },
    {
      title: 'SOURCES',
      value: ({ sources }) =>
        sources.map(({ name, synced }) => `${name}${synced ? '' : ' (not synced)'}`).join(', '),
    },
    { title: 'PROBLEMS', value: ({ problems }) => problems.length },
  ]);
  const problems = statuses.flatMap(({ node, problems: own }) =>
    own
      .filter(({ severity }) => severity !== 'info')
      .map(({ severity, message }) => `${node}: ${severity}: ${message}\n`),
  );
  return [table, problems.join('')].filter((part) => part !== '').join('\n');
}

/** Exported for its test. */
export function formatStatus(status: Status, wide: boolean): string {
  const { counts, compile } = status;
  const facts: (readonly [string, string])[] = [
    ['Node', status.node],
    ['Ready', status.unready === undefined ? 'yes' : `no: ${status.unready}`],
    ['Agent', `pid ${status.pid}, up ${shortDuration(status.uptimeSeconds)}, epoch ${status.epoch}`],
    ['Switch', switchLine(status)],
    ['Policy', policyLine(status)],
    ['Pods', `${counts.pods} known, ${counts.localPods} enforced here, ${counts.ports} attached`],
    ['Policies', `${counts.policies}`],
    ['Services', `${counts.services}`],
  ];
  if ((status.switch?.trial ?? 0) !== 0)
    facts.push(['Trial', 'policies are tried on live flows (weft policy try); nothing of it is enforced']);
  const full = status.limits.filter(({ used, most }) => used >= nearlyFull * most);
  if (full.length > 0) facts.push(['Nearly full', full.map(limitText).join(', ')]);
  if (wide)
    facts.push(
      ['Compiled', `${counts.identities} identities, ${counts.classes} classes, ${counts.programs} programs`],
      [
        'Last compile',
        `${compile.lastMilliseconds.toFixed(1)} ms, ${shortNumber(compile.imageBytes)} bytes, ${compile.count} in all`,
      ],
      ['Versions', `agent ${status.version}, switch ${status.switch?.version ?? 'unknown'}`],
    );
  const sources = formatTable(status.sources, [
    { title: 'SOURCE', value: ({ name }) => name },
    { title: 'SYNCED', value: ({ synced }) => (synced ? 'yes' : 'no') },
    { title: 'OBJECTS', value: ({ objects }) => objects },
    { title: 'PROBLEMS', value: ({ problems }) => problems },
  ]);
  const watches = status.sources.flatMap(({ watches = [] }) => watches);
  const pools = formatTable(status.addresses, [
    { title: 'POD CIDR', value: ({ cidr }) => cidr },
    { title: 'USED', value: ({ used }) => used },
    { title: 'OF', value: ({ total }) => total },
  ]);
  const limits = formatTable(status.limits, [
    { title: 'LIMIT', value: ({ limit }) => limit },
    { title: 'USED', value: ({ used }) => used },
    { title: 'OF', value: ({ most }) => most },
  ]);
  const problems = status.problems
    .filter(({ severity }) => wide || severity !== 'info')
    .map(
      ({ severity, message, source }) =>
        `${severity}: ${source === undefined ? '' : `${formatSource(source)}: `}${message}\n`,
    )
    .join('');
  return [
    formatFacts(facts),
    sources,
    watches.length === 0 ? '' : formatWatches(watches),
    pools,
    wide ? limits : '',
    problems,
  ]
    .filter((part) => part !== '')
    .join('\n');
}

/** Kind by kind: whether it is watched, and how old what is known may be. */
function formatWatches(watches: readonly WatchState[]): string {
  return formatTable(watches, [
    { title: 'API', value: ({ resource }) => resource },
    { title: 'STATE', value: ({ state }) => state },
    {
      title: 'HEARD',
      value: ({ secondsSinceContact: age }) => (age === null ? 'never' : `${shortDuration(age)} ago`),
    },
    { title: 'OBJECTS', value: ({ objects }) => objects },
    { title: 'LISTS', value: ({ lists }) => lists },
    { title: 'FAILURES', value: ({ failures }) => failures },
    { title: 'GARBLED', value: ({ garbled }) => garbled },
  ]);
}

function limitText({ limit, used, most }: LimitUse): string {
  return `${limit} ${shortNumber(used)} of ${shortNumber(most)}`;
}

function policyLine(status: Status): string {
  if (status.imageError !== undefined) return `refused: ${status.imageError}`;
  const coming =
    status.revision !== status.acknowledged
      ? ` (${status.revision} is on its way)`
      : status.pending
        ? ' (changes are gathered for the next)'
        : '';
  return `revision ${status.acknowledged}${coming}, generation ${status.generation || '-'}`;
}

function switchLine(status: Status): string {
  if (!status.switchConnected) return 'no connection';
  const own = status.switch;
  if (own === undefined) return 'connected';
  const { ports, connections } = own;
  return `pid ${own.pid}, up ${shortDuration(own.uptimeSeconds)}, ${own.workers} worker${own.workers === 1 ? '' : 's'}, ${ports.live} ports live${ports.failed === 0 ? '' : `, ${ports.failed} failed`}, ${shortNumber(connections.used)} of ${shortNumber(connections.capacity)} connections`;
}
