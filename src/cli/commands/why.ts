/** `weft why`: the verdict on one connection, by the switch of this node as it runs, or with `-f` by files. */
import { type Command, Option } from 'commander';
import type { AgentClient } from '../../agent/client.js';
import { WeftError } from '../../errors/problem.js';
import { readManifests } from '../../manifests/read.js';
import { validateObjects } from '../../manifests/validate.js';
import { type AgentOptions, withAgent, withAgentOptions, withAgents, withPodAgent } from '../connect.js';
import { meansCluster } from '../far.js';
import { askWhy, podOf, printLiveWhy, printWholeWhy, type WholeExplanation, wholeOf } from '../live-why.js';
import { type Chosen, formatOf, formatOption, jsonOption, print, printData } from '../output.js';
import { policyWorld } from '../policy/load.js';
import { refuseLosses, refuseUnreadable, reportProblems } from '../policy/problems.js';
import { explainWhy, printWhy } from '../policy/why.js';

interface WhyOptions extends AgentOptions, Chosen {
  readonly file?: string[];
  readonly family?: string;
  readonly ownNodeEgress?: 'allow' | 'judge';
}

export function register(program: Command): void {
  withAgentOptions(
    program
      .command('why')
      .description(
        'Explain why a connection is allowed or denied: the policies, the rule, and what would have to change.',
      )
      .argument('<from>', '[NAMESPACE/]POD or a workload, an address, or node/NAME')
      .argument(
        '<to>',
        'the same or svc/[NAMESPACE/]NAME, then :PORT (number or name) and /PROTOCOL: db/mysql:3306/TCP',
      )
      .option('-f, --file <path...>', 'judge manifests instead: files, folders, - for standard input')
      .addOption(formatOption())
      .addOption(jsonOption())
      .addOption(
        new Option('--family <family>', 'IPv4 or IPv6, where the ends have both').choices(['4', '6']),
      )
      .addOption(
        new Option(
          '--own-node-egress <mode>',
          'with -f: what a pod may send to its own node, as the option policy.ownNodeEgress (default allow)',
        ).choices(['allow', 'judge']),
      ),
  )
    .addHelpText(
      'after',
      `
Without -f the running switch of this node is asked, which answers by the structure that it judges packets with.
From afar every node that has a say is asked, and the first line is the verdict of all of them.
A source's port, as in what weft drops prints, is left out of account. ICMP has no port: db/mysql/icmp.
Exit status: 0 allowed, 1 denied, 2 no answer.

Examples:
  weft why web/frontend db/mysql:3306/TCP
  weft why web/frontend svc/db/mysql:3306
  weft why frontend mysql.db.svc.cluster.local:mysql
  weft why 10.42.0.7 10.42.0.9:53/udp
  weft why web/frontend db/mysql:3306/TCP -f manifests/`,
    )
    .action(async (from: string, to: string, options: WhyOptions) => {
      const format = formatOf(options);
      const family = options.family === undefined ? undefined : options.family === '4' ? 4 : 6;
      const [answer, text] =
        options.file === undefined
          ? await live(from, to, family, options)
          : ofFiles(from, to, family, options.file, options);
      if (format === 'json' || format === 'yaml') printData(format, answer);
      else print(text());
      process.exitCode = answer.allowed === null ? 2 : answer.allowed ? 0 : 1;
    });
}

type Answered = readonly [answer: { readonly allowed: boolean | null }, text: () => string];

async function live(
  from: string,
  to: string,
  family: 4 | 6 | undefined,
  options: WhyOptions,
): Promise<Answered> {
  if (options.ownNodeEgress !== undefined)
    throw new WeftError('usage', '--own-node-egress goes with -f; the running switch has its own setting.');
  const whole = await askNodes(from, to, family, options);
  const [first] = whole.nodes;
  // One node that everything is up to says all of it.
  if (whole.nodes.length === 1 && whole.failures === undefined && first !== undefined)
    return [first, () => printLiveWhy(first)];
  return [whole, () => printWholeWhy(whole)];
}

/** Afar the node of the pod that starts the connection is asked, then those that it names. */
async function askNodes(
  from: string,
  to: string,
  family: 4 | 6 | undefined,
  options: WhyOptions,
): Promise<WholeExplanation> {
  const ask = (agent: AgentClient) => askWhy(agent, from, to, family);
  const pod = podOf(from, to);
  const answer = pod === null ? await withAgent(options, ask) : await withPodAgent(options, pod, ask);
  if (answer.alsoAsk.length === 0 || !meansCluster(options) || options.node !== undefined)
    return wholeOf([answer], []);
  // Each by itself: what one of them cannot say takes nothing away from what the others do.
  const others = await Promise.all(
    answer.alsoAsk.map((node) =>
      withAgents({ ...options, node: [node] }, ask).catch((error: unknown) => {
        if (error instanceof WeftError) return { node, message: error.message };
        throw error;
      }),
    ),
  );
  return wholeOf(
    [answer, ...others.flatMap((one) => ('answers' in one ? one.answers.map(({ value }) => value) : []))],
    others.flatMap((one) => ('answers' in one ? [] : [one])),
  );
}

function ofFiles(
  from: string,
  to: string,
  family: 4 | 6 | undefined,
  files: string[],
  options: WhyOptions,
): Answered {
  const manifests = readManifests(files);
  refuseUnreadable(manifests);
  refuseLosses(manifests.written, manifests.texts);
  reportProblems(
    validateObjects(manifests.written).filter((problem) => problem.severity === 'error'),
    manifests.texts,
    process.stderr,
  );
  const explanation = explainWhy(policyWorld(manifests, 'assign'), from, to, {
    ownNodeEgress: options.ownNodeEgress ?? 'allow',
    ...(family === undefined ? {} : { family }),
  });
  return [explanation, () => printWhy(explanation)];
}
