/** `weft policy test FILE`: asks each expected verdict of its manifests. Exit status 0 all hold, 1 some do not, 2 a file cannot be used. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { formatSource, WeftError } from '../../errors/problem.js';
import { type Manifests, readManifestFiles, readManifests, resolveManifests } from '../../manifests/read.js';
import { type Format, formatOption, printData } from '../output.js';
import { printJunit, type TestResult } from './junit.js';
import { type PolicyWorld, policyWorld } from './load.js';
import { refuseInvalid, refuseLosses, refuseUnreadable } from './problems.js';
import { type ExpectedVerdict, isTestSuite, readSuite, type TestSuite } from './test-file.js';
import { type Explanation, explainWhy, printWhy } from './why.js';

interface TestOptions {
  readonly file?: string[];
  readonly junit?: string;
  readonly output: Format;
  readonly json?: boolean;
}

export function registerTest(policy: Command): void {
  policy
    .command('test')
    .description('Check expected verdicts, written in YAML beside the policies.')
    .argument('<file...>', 'files with tests: [{name, from, to, expect: allow|deny}]')
    .option('-f, --file <path...>', 'manifests in place of those that the file names')
    .option('--junit <file>', 'also write the results as JUnit XML')
    .addOption(formatOption())
    .option('--json', 'print JSON (the same as -o json)')
    .action((files: string[], options: TestOptions) => {
      process.exitCode = runTests(files, options);
    });
}

function runTests(files: readonly string[], options: TestOptions): 0 | 1 {
  const results = files.flatMap((file) => testFile(file, options.file));
  if (options.junit !== undefined) {
    try {
      writeFileSync(options.junit, printJunit(results));
    } catch (error) {
      throw new WeftError('junit', `${options.junit} cannot be written: ${(error as Error).message}.`);
    }
  }
  const format = options.json === true ? 'json' : options.output;
  if (format === 'json' || format === 'yaml') printData(format, { results });
  else process.stdout.write(printResults(results));
  return results.every((result) => result.passed) ? 0 : 1;
}

/** Every test of one file; throws where the file or its manifests cannot be used. */
function testFile(file: string, manifestsInstead?: readonly string[]): TestResult[] {
  const read = readManifestFiles([file]);
  refuseUnreadable(read);
  const suites = read.objects.filter(isTestSuite).map((origin) => readSuite(origin));
  refuseInvalid(
    suites.flatMap(({ problems }) => problems),
    read.texts,
  );
  if (suites.length === 0) {
    throw new WeftError(
      'test-file',
      `${file} holds no tests. Write tests: [{name, from, to, expect: allow}] in it.`,
    );
  }
  const beside = read.objects.filter((object) => !isTestSuite(object));
  return suites.flatMap(({ suite }) => {
    const world = worldOfSuite(suite, beside, read.texts, manifestsInstead);
    return suite.tests.map((test) => runTest(world, suite, test));
  });
}

function worldOfSuite(
  suite: TestSuite,
  beside: Manifests['written'],
  texts: Manifests['texts'],
  instead: readonly string[] | undefined,
): PolicyWorld {
  const paths = instead ?? suite.manifests;
  if (paths === undefined && beside.length > 0) {
    refuseLosses(beside, texts);
    return policyWorld(resolveManifests(beside), 'assign');
  }
  const manifests = readManifests(paths ?? [path.dirname(suite.file)]);
  refuseUnreadable(manifests);
  refuseLosses(manifests.written, manifests.texts);
  return policyWorld(manifests, 'assign');
}

function runTest(world: PolicyWorld, suite: TestSuite, test: ExpectedVerdict): TestResult {
  let explanation: Explanation;
  try {
    explanation = explainWhy(world, test.from, test.to, {
      ownNodeEgress: suite.ownNodeEgress ?? 'allow',
      ...(test.family === undefined ? {} : { family: test.family }),
    });
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    const at = { file: test.file, line: test.line };
    throw new WeftError(error.code, `${formatSource(at)}: ${error.message}`);
  }
  const found = explanation.allowed === null ? 'no answer' : explanation.allowed ? 'allow' : 'deny';
  const passed = explanation.allowed === test.allowed;
  return {
    name: test.name,
    file: test.file,
    line: test.line,
    passed,
    expected: test.allowed ? 'allow' : 'deny',
    found,
    ...(passed ? {} : { explanation: printWhy(explanation) }),
  };
}

function printResults(results: readonly TestResult[]): string {
  const lines = results.map((result) => {
    if (result.passed) return `✔ ${result.name}\n`;
    const why = (result.explanation ?? '').trimEnd().replace(/^/gm, '    ');
    return `✖ ${result.name}\n    ${result.file}:${result.line}: expected ${result.expected}, found ${result.found}\n${why}\n`;
  });
  const failed = results.filter((result) => !result.passed).length;
  return `${lines.join('')}\n${results.length - failed} passed, ${failed} failed\n`;
}
