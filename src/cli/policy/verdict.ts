/** `weft policy verdict`: may this end reach that one, for a list of questions or for many worlds in a row. */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { WeftError } from '../../errors/problem.js';
import { objectOf } from '../../manifests/plain.js';
import { readManifests } from '../../manifests/read.js';
import { validateObjects } from '../../manifests/validate.js';
import { type Column, type Format, formatOption, formatTable, printData } from '../output.js';
import { type Answer, answerAll, type SideAnswer } from './answer.js';
import { runBatch } from './batch.js';
import type { EngineName, EngineOptions } from './engine.js';
import { engineNamed, engineNames } from './engines.js';
import { policyWorld } from './load.js';
import { refuseLosses, refuseUnreadable, reportProblems } from './problems.js';

interface VerdictOptions {
  readonly file?: string[];
  readonly queries?: string;
  readonly engine: EngineName;
  readonly batch?: boolean;
  readonly json?: boolean;
  readonly output: Format;
  readonly ownNodeEgress: 'allow' | 'judge';
  readonly assignAddresses?: boolean;
}

export function registerVerdict(policy: Command): void {
  policy
    .command('verdict')
    .description('Say for each query whether the connection is allowed, and which policy and rule decided.')
    .option('-f, --file <path...>', 'manifests: files, folders, - for standard input')
    .option(
      '--queries <file>',
      'JSON list of {"from", "to", "port", "protocol", "family"}; - for standard input',
    )
    .addOption(
      new Option('--engine <name>', 'what answers')
        .choices([...engineNames])
        .default('native' satisfies EngineName),
    )
    .option(
      '--batch',
      'read worlds {"objects", "queries", "options"} from standard input, one JSON object a line',
    )
    .addOption(
      new Option(
        '--own-node-egress <mode>',
        'what a pod may send to its own node, as the option policy.ownNodeEgress',
      )
        .choices(['allow', 'judge'])
        .default('allow'),
    )
    .option('--assign-addresses', 'give pods without status.podIPs an address each')
    .option('--json', 'print JSON (the same as -o json)')
    .addOption(formatOption())
    .action(async (options: VerdictOptions) => {
      process.exitCode = await runVerdict(options);
    });
}

async function runVerdict(options: VerdictOptions): Promise<0 | 2> {
  const engine = engineNamed(options.engine);
  const engineOptions: EngineOptions = { ownNodeEgress: options.ownNodeEgress };
  if (options.batch === true) {
    if (options.file !== undefined || options.queries !== undefined) {
      throw new WeftError(
        'usage',
        '--batch reads worlds from standard input and takes neither -f nor --queries.',
      );
    }
    return runBatch(process.stdin, process.stdout, process.stderr, engine, engineOptions);
  }
  if (options.file === undefined || options.queries === undefined) {
    throw new WeftError(
      'usage',
      'Name manifests with -f and a file of queries with --queries, or use --batch.',
    );
  }
  const queries = readQueries(options.queries);
  const manifests = readManifests(options.file);
  refuseUnreadable(manifests);
  refuseLosses(manifests.written, manifests.texts);
  reportProblems(validateObjects(manifests.written), manifests.texts, process.stderr);
  const world = policyWorld(
    manifests,
    options.assignAddresses === true ? 'assign' : 'as-written',
    'no places',
  );
  const answers = answerAll(world.directory, engine(world, engineOptions), queries, engineOptions);
  await printAnswers(queries, answers, options);
  if (options.assignAddresses !== true && answers.some(({ reason }) => reason?.endsWith('has no address.'))) {
    process.stderr.write(
      'weft: Some pods have no status.podIPs, as in manifests that never met a cluster; --assign-addresses gives each an address.\n',
    );
  }
  const malformed = answers.filter((answer) => answer.error !== undefined);
  for (const answer of malformed)
    process.stderr.write(`weft: query ${answers.indexOf(answer)}: ${answer.error}\n`);
  return malformed.length > 0 ? 2 : 0;
}

function readQueries(file: string): readonly unknown[] {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8'));
  } catch (error) {
    throw new WeftError('queries', `The queries in ${file} cannot be read: ${(error as Error).message}`);
  }
  if (!Array.isArray(value)) {
    throw new WeftError('queries', `${file} holds no JSON list of queries.`);
  }
  return value;
}

async function printAnswers(
  queries: readonly unknown[],
  answers: readonly Answer[],
  options: VerdictOptions,
): Promise<void> {
  if (options.json === true || options.output === 'json') {
    // One answer a line, so that a hundred thousand of them can be read and compared.
    await write(`[\n${answers.map((answer) => JSON.stringify(answer)).join(',\n')}\n]\n`);
  } else if (options.output === 'yaml') {
    printData('yaml', answers);
  } else {
    const rows = answers.map((answer, index) => ({
      answer,
      query: objectOf(queries[index]),
    }));
    await write(formatTable(rows, columns, options.output === 'wide'));
  }
}

type Row = { readonly answer: Answer; readonly query: Readonly<Record<string, unknown>> };

const columns: readonly Column<Row>[] = [
  {
    title: 'VERDICT',
    value: ({ answer }) => (answer.allowed === null ? 'none' : answer.allowed ? 'allowed' : 'denied'),
  },
  { title: 'FROM', value: ({ query }) => String(query.from ?? '-') },
  { title: 'TO', value: ({ query }) => String(query.to ?? '-') },
  { title: 'PORT', value: ({ query }) => `${String(query.port ?? '-')}/${String(query.protocol ?? 'TCP')}` },
  { title: 'EGRESS', value: ({ answer }) => side(answer.egress) },
  { title: 'INGRESS', value: ({ answer }) => side(answer.ingress) },
  { title: 'REASON', value: ({ answer }) => answer.error ?? answer.reason ?? '' },
  {
    title: 'BACKENDS',
    wide: true,
    value: ({ answer }) =>
      (answer.backends ?? [])
        .map(({ address, port, allowed }) => `${address}:${port} ${allowed ? 'allowed' : 'denied'}`)
        .join(', '),
  },
];

function side(verdict: SideAnswer | null): string {
  if (verdict === null) return '-';
  if (verdict.reason === 'rule') return `${verdict.policy} ${verdict.path}`;
  if (verdict.reason === 'isolated') return `denied by ${verdict.isolatedBy.join(', ')}`;
  return verdict.reason;
}

function write(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()));
}
