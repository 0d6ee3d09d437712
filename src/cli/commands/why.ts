import { type Command, Option } from 'commander';
import { readManifests } from '../../manifests/read.js';
import { validateObjects } from '../../manifests/validate.js';
import { type Format, formatOption, printData } from '../output.js';
import { policyWorld } from '../policy/load.js';
import { refuseUnreadable, reportProblems } from '../policy/problems.js';
import { explainWhy, printWhy } from '../policy/why.js';

interface WhyOptions {
  readonly file: string[];
  readonly output: Format;
  readonly json?: boolean;
  readonly family?: string;
  readonly ownNodeEgress: 'allow' | 'judge';
}

export function register(program: Command): void {
  program
    .command('why')
    .description(
      'Explain why a connection is allowed or denied: the policies, the rule, and what would have to change.',
    )
    .argument('<from>', 'NAMESPACE/POD, an address, or node/NAME')
    .argument('<to>', 'the same or svc/NAMESPACE/NAME, then :PORT and /PROTOCOL: db/mysql:3306/TCP')
    .requiredOption('-f, --file <path...>', 'manifests: files, folders, - for standard input')
    .addOption(formatOption())
    .option('--json', 'print JSON (the same as -o json)')
    .addOption(new Option('--family <family>', 'IPv4 or IPv6, where the ends have both').choices(['4', '6']))
    .addOption(
      new Option(
        '--own-node-egress <mode>',
        'what a pod may send to its own node, as the option policy.ownNodeEgress',
      )
        .choices(['allow', 'judge'])
        .default('allow'),
    )
    .addHelpText(
      'after',
      '\nExit status: 0 allowed, 1 denied, 2 no answer.\n\nExample:\n  weft why web/frontend db/mysql:3306/TCP -f manifests/',
    )
    .action((from: string, to: string, options: WhyOptions) => {
      const manifests = readManifests(options.file);
      refuseUnreadable(manifests);
      reportProblems(
        validateObjects(manifests.written).filter((problem) => problem.severity === 'error'),
        manifests.texts,
        process.stderr,
      );
      const explanation = explainWhy(policyWorld(manifests, 'assign'), from, to, {
        ownNodeEgress: options.ownNodeEgress,
        ...(options.family === undefined ? {} : { family: options.family === '4' ? 4 : 6 }),
      });
      const format = options.json === true ? 'json' : options.output;
      if (format === 'json' || format === 'yaml') printData(format, explanation);
      else process.stdout.write(printWhy(explanation));
      process.exitCode = explanation.allowed === null ? 2 : explanation.allowed ? 0 : 1;
    });
}
