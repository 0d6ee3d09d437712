/** `weft lab probe`: the whole matrix of who reaches whom, a part of it, or one question. */
import { type Command, Option } from 'commander';
import { WeftError } from '../../errors/problem.js';
import type { ProbeSelection, Question } from '../../lab/protocol.js';
import { isMisread, parseTarget } from '../ends.js';
import { type Named, nameOption, outputOption } from './options.js';
import { type Format, printMatrix } from './report.js';
import { withLab } from './session.js';

export interface ProbeOptions extends Named {
  readonly output: Format;
  readonly services?: boolean;
  readonly from?: string[];
  readonly to?: string[];
  readonly family?: '4' | '6';
  readonly all?: boolean;
}

export function probeOptions(command: Command): Command {
  return command
    .addOption(nameOption())
    .addOption(outputOption())
    .option('--services', 'Services by their cluster addresses too')
    .option(
      '--from <end...>',
      'only these sources: NAMESPACE/POD, NAMESPACE/*, node/lab, an external address',
    )
    .option('--to <end...>', 'only these destinations')
    .addOption(new Option('--family <family>', 'only IPv4 or IPv6').choices(['4', '6']))
    .option('--all', "the lab's own pods (DNS) too");
}

export function selectionOf(options: ProbeOptions): ProbeSelection {
  return {
    ...(options.services === true ? { services: true } : {}),
    ...(options.all === true ? { all: true } : {}),
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.to === undefined ? {} : { to: options.to }),
    ...(options.family === undefined ? {} : { families: [options.family === '4' ? 4 : 6] }),
  };
}

/** Prints what was measured; exit status 1 where it is not as expected. */
export async function probe(
  from: string | undefined,
  target: string | undefined,
  options: ProbeOptions,
): Promise<void> {
  if (from !== undefined && target === undefined)
    throw new WeftError(
      'usage',
      'Name both ends, for example `weft lab probe web/frontend db/mysql:3306`, or none.',
    );
  await withLab(options.name, async (client) => {
    const { cells } =
      from === undefined || target === undefined
        ? await client.request('probe', { selection: selectionOf(options) })
        : await client.request('ask', { questions: [questionOf(from, target, options)] });
    printMatrix(cells, from === undefined || options.output !== 'table' ? options.output : 'wide');
    process.exitCode = cells.every(({ agrees }) => agrees) ? 0 : 1;
  });
}

function questionOf(from: string, text: string, options: ProbeOptions): Question {
  const target = parseTarget(text);
  if (isMisread(target)) throw new WeftError('usage', target.error);
  const { end, port, protocol = 'TCP' } = target;
  if (typeof port !== 'number' || protocol === 'ICMP')
    throw new WeftError(
      'usage',
      `"${text}": a probe needs a port number and TCP, UDP or SCTP, for example db/mysql:3306/TCP.`,
    );
  const to =
    end.kind === 'address'
      ? end.address.text
      : end.kind === 'service'
        ? `svc/${end.namespace}/${end.name}`
        : end.kind === 'node'
          ? `node/${end.name}`
          : `${end.namespace}/${end.name}`;
  const family =
    options.family === undefined ? {} : { family: options.family === '4' ? (4 as const) : (6 as const) };
  return { from: /[/:]|^[\d.]+$/.test(from) ? from : `default/${from}`, to, port, protocol, ...family };
}
