/** `weft status`: whether this node enforces what its sources say, and what is wrong if not. */
import { type Command, Option } from 'commander';
import type { StatusAnswer } from '../../agent/protocol.js';
import { formatSource } from '../../errors/problem.js';
import { type AgentOptions, withAgent, withAgentOptions } from '../connect.js';
import {
  type Format,
  formatFacts,
  formatTable,
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
      .addOption(
        new Option('-o, --output <format>', 'table, wide (more facts), json or yaml')
          .choices(['table', 'wide', 'json', 'yaml'])
          .default('table'),
      ),
  ).action(async (options: AgentOptions & { output: Format }) => {
    const status = await withAgent(options, (agent) => agent.request('status'));
    if (options.output === 'json' || options.output === 'yaml') {
      const { type: _type, id: _id, ...data } = status;
      printData(options.output, data);
    } else print(formatStatus(status, options.output === 'wide'));
    process.exitCode = status.ready ? 0 : 1;
  });
}

/** Exported for its test. */
export function formatStatus(status: StatusAnswer, wide: boolean): string {
  const { counts, compile } = status;
  const current = status.revision === status.acknowledged;
  const facts: (readonly [string, string])[] = [
    ['Node', status.node],
    ['Ready', status.ready ? 'yes' : 'no'],
    ['Agent', `pid ${status.pid}, up ${shortDuration(status.uptimeSeconds)}, epoch ${status.epoch}`],
    ['Switch', switchLine(status)],
    [
      'Policy',
      status.imageError === undefined
        ? `revision ${status.acknowledged}${current ? '' : ` (${status.revision} is on its way)`}, generation ${status.generation || '-'}`
        : `refused: ${status.imageError}`,
    ],
    ['Pods', `${counts.pods} known, ${counts.localPods} enforced here, ${counts.ports} attached`],
    ['Policies', `${counts.policies}`],
    ['Services', `${counts.services}`],
  ];
  if (wide)
    facts.push(
      ['Compiled', `${counts.identities} identities, ${counts.classes} classes, ${counts.programs} programs`],
      [
        'Last compile',
        `${compile.lastMilliseconds.toFixed(1)} ms, ${shortNumber(compile.imageBytes)} bytes, ${compile.count} in all`,
      ],
    );
  const sources = formatTable(status.sources, [
    { title: 'SOURCE', value: ({ name }) => name },
    { title: 'SYNCED', value: ({ synced }) => (synced ? 'yes' : 'no') },
    { title: 'OBJECTS', value: ({ objects }) => objects },
    { title: 'PROBLEMS', value: ({ problems }) => problems },
  ]);
  const pools = formatTable(status.addresses, [
    { title: 'POD CIDR', value: ({ cidr }) => cidr },
    { title: 'USED', value: ({ used }) => used },
    { title: 'OF', value: ({ total }) => total },
  ]);
  const problems = status.problems
    .filter(({ severity }) => wide || severity !== 'info')
    .map(
      ({ severity, message, source }) =>
        `${severity}: ${source === undefined ? '' : `${formatSource(source)}: `}${message}\n`,
    )
    .join('');
  return [formatFacts(facts), sources, pools, problems].filter((part) => part !== '').join('\n');
}

function switchLine(status: StatusAnswer): string {
  if (!status.switchConnected) return 'no connection';
  const own = status.switch;
  if (own === undefined) return 'connected';
  const { ports, connections } = own;
  return `pid ${own.pid}, up ${shortDuration(own.uptimeSeconds)}, ${own.workers} worker${own.workers === 1 ? '' : 's'}, ${ports.live} ports live${ports.failed === 0 ? '' : `, ${ports.failed} failed`}, ${shortNumber(connections.used)} of ${shortNumber(connections.capacity)} connections`;
}
