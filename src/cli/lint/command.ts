/** `weft policy lint`: exit status 0 without errors and warnings, 1 with, 2 where a path cannot be read. */
import { type Command, Option } from 'commander';
import { readManifests } from '../../manifests/read.js';
import { lint } from './lint.js';
import { printGithub, printText } from './print.js';

interface LintOptions {
  readonly output?: 'table' | 'wide' | 'json' | 'yaml' | 'github';
  readonly json?: boolean;
  readonly file?: string[];
}

export function registerLint(policy: Command): void {
  policy
    .command('lint')
    .description('Find what is wrong or unlikely to be meant in manifests.')
    .argument('[path...]', 'files, folders, - for standard input')
    .option('-f, --file <path...>', 'the same as naming the path')
    .option('--json', 'print JSON (the same as -o json)')
    .addOption(
      new Option('-o, --output <format>', 'how to print; github makes annotations of a pull request').choices(
        ['table', 'json', 'yaml', 'wide', 'github'],
      ),
    )
    .action(async (paths: string[], options: LintOptions, command: Command) => {
      const all = [...paths, ...(options.file ?? [])];
      if (all.length === 0)
        command.error('error: name at least one file or folder, or - for standard input', { exitCode: 2 });
      process.exitCode = await runLint(all, options);
    });
}

async function runLint(paths: readonly string[], options: LintOptions): Promise<0 | 1 | 2> {
  const manifests = readManifests(paths);
  const findings = lint(manifests);
  const format = options.json === true ? 'json' : options.output;
  if (format === 'json') process.stdout.write(`${JSON.stringify({ findings }, null, 2)}\n`);
  else if (format === 'yaml') process.stdout.write((await import('yaml')).stringify({ findings }));
  else if (format === 'github') process.stdout.write(printGithub(findings));
  else process.stdout.write(printText(findings, manifests.texts, manifests.texts.size));
  if (manifests.texts.size === 0 && findings.length === 0) {
    process.stderr.write(`weft: There is no YAML or JSON file in ${paths.join(', ')}.\n`);
    return 2;
  }
  if (findings.some((finding) => finding.code === 'unreadable')) return 2;
  return findings.some((finding) => finding.severity !== 'info') ? 1 : 0;
}
